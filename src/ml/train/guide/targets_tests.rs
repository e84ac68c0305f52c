//! Tests that the losses are torch's, in value and gradient, and that padding does not count.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::model::Config;
use crate::train::guide::{AttentionLoss, Depths, HiddenLoss};

/// Numbers between −1 and 1; torch computed the expected values from the same numbers.
fn wave<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let number = |i: u64| ((i * i * 31 + i * 17 * seed + seed * 37) % 101) as f32 / 50.0 - 1.0;
    let values: Vec<f32> = (0..shape.iter().product::<usize>() as u64).map(number).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff())
}

/// Rows of three and two tokens.
fn batch() -> Batch {
    let mask = vec![true, true, true, true, true, false];
    Batch {
        rows: vec![0, 1],
        labels: vec![0, 1],
        ids: vec![5, 6, 7, 8, 9, 0],
        types: vec![],
        mask,
        width: 3,
        tokens: 5,
    }
}

fn teacher() -> Model {
    let text = r#"{"model_type": "bert", "vocab_size": 20, "hidden_size": 4, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 8}"#;
    Model::init(&Config::parse(text).unwrap(), 1, &Device::flex()).unwrap()
}

/// Two pieces, the second and third, follow the teacher's pieces with the same numbers.
fn guide(hidden: Option<HiddenLoss>, attention: Option<AttentionLoss>) -> Guide {
    let two = BTreeMap::from([(1, 1), (2, 2)]);
    let one = BTreeMap::from([(1, 1)]);
    Guide { teacher: teacher(), hidden: hidden.map(|h| (h, two)), attention: attention.map(|a| (a, one)) }
}

fn targets<'a>(guide: &'a Guide, projection: Option<&'a Linear>) -> TeacherTargets<'a> {
    let (_, mask) = batch().to_device(&Device::flex().autodiff());
    let states = BTreeMap::from([(1, wave([6, 3], 3)), (2, wave([6, 3], 4))]);
    let scores = BTreeMap::from([(1, wave([2, 2, 3, 3], 8))]);
    TeacherTargets { guide, projection, states, scores, real: mask.float(), counts: Counts::of(&[batch()]) }
}

#[track_caller]
fn close<const D: usize>(found: Tensor<D>, torch: &[f64]) {
    let found = found.into_data().try_into_vec::<f32>().unwrap();
    assert_eq!(found.len(), torch.len());
    let is_close = found.iter().zip(torch).all(|(a, b)| (f64::from(*a) - b).abs() < 2e-6);
    assert!(is_close, "{found:?}, torch {torch:?}");
}

/// The measure, then torch's f64 results for half of the mean over two pieces of `mse_loss` or `CosineEmbeddingLoss`
/// over the real tokens: the loss, and the gradients of the first piece and of the projection's weight (as `[in, out]`)
/// and bias.
type Torch = (Measure, f64, &'static [f64], &'static [f64], &'static [f64]);

const TORCH: [Torch; 4] = [
    (
        Measure::Mse,
        0.3989933,
        &[
            0.018,
            -0.004666667,
            0.04,
            0.01733333,
            0.062,
            0.03933333,
            0.01666667,
            -0.006,
            -0.02866667,
            0.016,
            -0.006666667,
            -0.02933333,
            0.01533333,
            -0.007333333,
            0.03733333,
            0.0,
            0.0,
            0.0,
        ],
        &[],
        &[],
    ),
    (
        Measure::Mse,
        0.3754169,
        &[
            -0.02729227,
            0.07092293,
            0.03858667,
            -0.0176912,
            0.05228107,
            0.04271973,
            -0.01335787,
            -0.003145333,
            -0.02743413,
            0.02347013,
            0.0,
            0.0,
        ],
        &[0.04804533, 0.1151317, -0.1333088, 0.08613227, -0.1008283, 0.0383856],
        &[-0.04010667, 0.05069333, 0.0001866667],
    ),
    (
        Measure::Cosine,
        0.5854425,
        &[
            0.0251871,
            -0.02050958,
            0.02375608,
            0.000493125,
            0.007447272,
            -0.008960981,
            0.09597274,
            -0.05490381,
            -0.08328168,
            0.01040694,
            -0.038072,
            -0.0494019,
            0.02624124,
            -0.001473479,
            -0.006320141,
            0.0,
            0.0,
            0.0,
        ],
        &[],
        &[],
    ),
    (
        Measure::Cosine,
        0.5732172,
        &[
            0.03258996,
            0.05429808,
            0.01543144,
            -0.01763523,
            -0.00631573,
            0.00241973,
            0.02231352,
            0.03257903,
            -0.0003286595,
            0.07616751,
            0.0,
            0.0,
        ],
        &[-0.02073795, 0.06973296, 0.02944836, 0.07316871, -0.02164489, -0.007760096],
        &[0.1338872, 0.1154144, 0.06820226],
    ),
];

#[test]
fn hidden_losses_are_torchs_with_and_without_a_projection() {
    for (loss, expected, of_x, of_weight, of_bias) in TORCH {
        let guide = guide(Some(HiddenLoss { loss, weight: 0.5, layers: Depths::Uniform }), None);
        let device = Device::flex().autodiff();
        let mut projection = Linear::empty(2, 3, &device);
        // torch stores the weight as [out, in].
        let weight = Tensor::<2>::from_data(wave([3, 2], 5).transpose().into_data(), &device);
        projection.matrix = Param::from_tensor(weight).set_require_grad(true);
        projection.bias = Param::from_tensor(wave([3], 6)).set_require_grad(true);
        let width = of_x.len() / 6;
        let targets = targets(&guide, (width == 2).then_some(&projection));
        let x = [1, 2].map(|seed| wave([6, width], seed).require_grad());
        assert!(targets.embeddings(&x[0]).is_none());
        let losses = [1, 2].map(|piece| targets.hidden_loss(piece, &x[piece - 1]).unwrap());
        let total = losses.into_iter().reduce(|a, b| a + b).unwrap();
        let grads = total.backward();
        close(total.inner(), &[expected]);
        close(x[0].grad(&grads).unwrap(), of_x);
        if width == 2 {
            close(projection.matrix.val().grad(&grads).unwrap(), of_weight);
            close(projection.bias.val().grad(&grads).unwrap(), of_bias);
        }
    }
}

#[test]
fn the_attention_loss_is_torchs() {
    let guide = guide(None, Some(AttentionLoss { weight: 2.0, layers: Depths::Last }));
    let targets = targets(&guide, None);
    let ours = wave([2, 2, 3, 3], 7).require_grad();
    let loss = targets.attention_loss(ours.clone(), &targets.scores[&1]).unwrap();
    let grads = loss.backward();
    close(loss.inner(), &[1.700185]); // Twice `mse_loss` over the pairs of real tokens and the heads.
    let second_row = [
        -0.1230769,
        0.1353846,
        0.0,
        0.03076923,
        -0.02153846,
        0.0,
        0.0,
        0.0,
        0.0,
        0.02769231,
        -0.02461538,
        0.0,
        -0.1292308,
        -0.1815385,
        0.0,
        0.0,
        0.0,
        0.0,
    ];
    close(ours.grad(&grads).unwrap().narrow(0, 1, 1), &second_row);
}

#[test]
fn counts_are_of_real_tokens_in_all_batches() {
    assert_eq!(Counts::of(&[batch(), batch()]), Counts { tokens: 10.0, pairs: 26.0 });
}
