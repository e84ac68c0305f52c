//! Tests that RoBERTa computes what transformers computes.

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::fixture::Fixture;
use super::{Initialised, Model};
use crate::ml::dropout::Noise;

/// Mean cross entropy of `logits` `[B, C]`.
fn cross_entropy(logits: Tensor<2>, labels: &[i64], device: &Device) -> Tensor<1> {
    let rows = labels.len();
    let index: Tensor<2, Int> = Tensor::from_data(TensorData::new(labels.to_vec(), [rows, 1]), device);
    -log_softmax(logits, 1).gather(1, index).mean()
}

#[test]
fn logits_equal_those_of_transformers() {
    let Some(fixture) = Fixture::open("roberta-tiny") else { return };
    let device = Device::flex();
    let loaded = Model::load(&fixture.dir, None, 0, &device).expect("loads");
    assert_eq!(loaded.initialised, Initialised::Nothing);
    assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    let (ids, mask) = fixture.batch(&device);
    let logits = loaded.model.forward(ids, mask, &mut Noise::Off);
    let difference = fixture.difference("logits", logits);
    println!("largest logit difference {difference:.2e}");
    assert!(difference < 1e-4, "{difference}");
}

#[test]
fn gradients_equal_those_of_transformers() {
    let Some(fixture) = Fixture::open("roberta-tiny") else { return };
    let device = Device::flex().autodiff();
    let model = Model::load(&fixture.dir, None, 0, &device).expect("loads").model;
    let (ids, mask) = fixture.batch(&device);
    // All probabilities of this fixture are 0: the training path without its noise.
    let logits = model.forward(ids.clone(), mask.clone(), &mut Noise::step(1, 1));
    assert!(fixture.difference("logits", logits.clone()) < 1e-4);
    let loss = cross_entropy(logits, &fixture.labels(), &device);
    let value: f64 = loss.clone().into_scalar::<f32>().into();
    let expected = fixture.expected["loss"].as_f64().expect("a loss");
    assert!((value - expected).abs() < 1e-5, "loss {value}, expected {expected}");

    let norms = model.gradient_norms(&loss.backward()).expect("norms");
    let expected = fixture.expected["grad_norms"].as_object().expect("norms");
    assert_eq!(norms.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    let mut worst = 0f64;
    for (name, expected) in expected {
        let expected = expected.as_f64().expect("a norm");
        // A key's bias shifts all scores of a row alike: its gradient is rounding noise.
        let error = (norms[name] - expected).abs() / expected.max(1e-5);
        worst = worst.max(error);
        assert!(error < 1e-3, "{name}: {} instead of {expected}", norms[name]);
    }
    println!("largest relative difference of gradient norms {worst:.2e}");
}

#[test]
fn the_validation_copy_computes_the_same() {
    let Some(fixture) = Fixture::open("roberta-tiny") else { return };
    let device = Device::flex().autodiff();
    let model = Model::load(&fixture.dir, None, 0, &device).expect("loads").model;
    let (ids, mask) = fixture.batch(&Device::flex());
    let logits = model.valid().forward(ids, mask, &mut Noise::Off);
    assert!(fixture.difference("logits", logits) < 1e-4);
}

#[test]
fn padding_changes_nothing() {
    let Some(fixture) = Fixture::open("roberta-tiny") else { return };
    let device = Device::flex();
    let model = Model::load(&fixture.dir, None, 0, &device).expect("loads").model;
    let (ids, mask) = fixture.batch(&device);
    let [rows, width] = ids.dims();
    let pad: Tensor<2, Int> = Tensor::ones([rows, 9], &device);
    let wider = Tensor::cat(vec![ids, pad], 1);
    let wider_mask = Tensor::cat(vec![mask, Tensor::<2>::zeros([rows, 9], &device).bool()], 1);
    assert_eq!(wider.dims(), [rows, width + 9]);
    let logits = model.forward(wider, wider_mask, &mut Noise::Off);
    assert!(fixture.difference("logits", logits) < 1e-4);
}

#[test]
fn frozen_parameters_get_no_gradient() {
    let Some(fixture) = Fixture::open("roberta-tiny") else { return };
    let device = Device::flex().autodiff();
    let model = Model::load(&fixture.dir, None, 0, &device).expect("loads").model;
    let model = model.set_trainable(|name| name.starts_with("classifier.") || name.contains("layer.2"));
    assert_eq!(model.count_trainable(), 2597 + 18960);
    let (ids, mask) = fixture.batch(&device);
    let logits = model.forward(ids, mask, &mut Noise::Off);
    let norms = model.gradient_norms(&logits.sum().backward()).expect("norms");
    assert!(norms.keys().all(|name| name.starts_with("classifier.") || name.contains("layer.2")));
    assert_eq!(norms.len(), 20);
}

#[test]
fn dropout_repeats_for_a_step_and_differs_between_steps() {
    let Some(fixture) = Fixture::open("roberta-tiny") else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = std::fs::read_to_string(fixture.dir.join("config.json")).expect("a config");
    let config = config.replace("_dropout_prob\": 0.0", "_dropout_prob\": 0.1");
    std::fs::write(dir.path().join("config.json"), config).expect("written");
    let device = Device::flex().autodiff();
    let model = Model::load(dir.path(), None, 3, &device).expect("loads").model;
    let logits = |noise: &mut Noise| {
        let (ids, mask) = fixture.batch(&device);
        let data = model.forward(ids, mask, noise).into_data();
        data.try_to_vec::<f32>().expect("f32")
    };
    let first = logits(&mut Noise::step(1, 1));
    assert_eq!(first, logits(&mut Noise::step(1, 1)));
    assert_ne!(first, logits(&mut Noise::step(1, 2)));
    assert_ne!(first, logits(&mut Noise::Off));
}
