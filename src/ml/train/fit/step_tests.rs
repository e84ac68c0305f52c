//! Tests that a step gives the same gradients however its rows go through the model.

use std::collections::BTreeMap;

use super::*;
use crate::compress::lora::{LoraConfig, Targets};
use crate::compute::precision::Precision;
use crate::model::{Config, Model, walk};
use crate::text::batch::Padding;
use crate::train::fit::Hyperparameters;
use crate::train::fit::run::tests::{model, options, tokens};
use crate::train::guide::{AttentionLoss, Depths, Guide, HiddenLoss, Measure};
use crate::watch::Silent;

/// Take one step of `options` on the first rows, with each batch in `parts`. Returns its measurements and the weights
/// after it.
fn step(model: Model, options: &FitOptions, parts: usize) -> (Seen, BTreeMap<String, Vec<f32>>) {
    step_towards(&Objective::cross_entropy(), model, options, parts)
}

/// The same with another objective; the weights include the projection's.
fn step_towards(
    objective: &Objective,
    model: Model,
    options: &FitOptions,
    parts: usize,
) -> (Seen, BTreeMap<String, Vec<f32>>) {
    let tokens = tokens(24);
    let device = Device::flex().autodiff();
    let projection = objective.guide().and_then(|guide| guide.projection(model.config(), 1, &device).unwrap());
    let trainee = Trainee { model, projection }.train();
    let mut optimizer = AdamW::new(options.training.adamw(), &trainee, &device);
    let collect = |rows: &[usize]| Batch::collect(&tokens.train, rows, tokens.pad_id, Padding::Bucketed);
    let rows: Vec<usize> = (0..options.training.step_rows()).collect();
    let step_batches =
        StepBatches { step: 3, batches: rows.chunks(options.training.batch_size).map(collect).collect() };
    let budget = MemoryBudget::in_parts(parts);
    let stepper = Stepper { tokens: &tokens, objective, options, device: &device, watch: &Silent, budget };
    let (trainee, seen) = stepper.step(trainee, &mut optimizer, &step_batches, 1.0).unwrap();
    let weights = walk::to_host(&trainee).unwrap().into_iter().map(|(name, tensor)| (name, tensor.data)).collect();
    (seen, weights)
}

/// With learning rate 1 and a large ε, AdamW's first step g / (|g| + ε) is close to g / ε, so differences between
/// weights are differences between gradients.
fn linear() -> FitOptions {
    Hyperparameters { epsilon: 1.0, clip: 0.0, ..options() }.into()
}

/// The same options with other parameters.
fn with(mut options: FitOptions, change: impl FnOnce(&mut Hyperparameters)) -> FitOptions {
    change(&mut options.training);
    options
}

fn difference(a: &BTreeMap<String, Vec<f32>>, b: &BTreeMap<String, Vec<f32>>) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().flat_map(|(name, a)| a.iter().zip(&b[name]));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Two layers of every family, with every option that DeBERTa layers can have.
fn families(dropout: f64) -> Vec<(&'static str, Model)> {
    let common = format!(
        r#""vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
           "max_position_embeddings": 40, "initializer_range": 0.2, "pad_token_id": 1,
           "hidden_dropout_prob": {dropout}, "attention_probs_dropout_prob": {dropout},
           "id2label": {{"0": "a", "1": "b", "2": "c"}}, "label2id": {{"a": 0, "b": 1, "c": 2}}"#
    );
    let deberta = r#""model_type": "deberta-v2", "relative_attention": true, "position_buckets": 4, "type_vocab_size": 0,
        "norm_rel_ebd": "layer_norm", "share_att_key": true, "pos_att_type": ["p2c", "c2p"], "position_biased_input": false,
        "conv_kernel_size": 3"#;
    let distilbert = format!(
        r#""model_type": "distilbert", "dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2,
            "dropout": {dropout}, "attention_dropout": {dropout}, "seq_classif_dropout": {dropout}"#
    );
    let make = |name, own: &str| {
        let config = Config::parse(&format!("{{{own}, {common}}}")).unwrap();
        (name, Model::init(&config, 5, &Device::flex().autodiff()).unwrap())
    };
    vec![
        make("roberta", r#""model_type": "roberta", "type_vocab_size": 1"#),
        make("bert", r#""model_type": "bert", "type_vocab_size": 2"#),
        make("deberta", deberta),
        make("distilbert", &distilbert),
    ]
}

#[test]
fn gradient_checkpointing_changes_nothing_but_memory() {
    for dropout in [0.0, 0.1] {
        for (family, model) in families(dropout) {
            let options = with(linear(), |training| training.accumulation = 2);
            let (plain, weights) = step(model.clone(), &options, 1);
            let options = with(options, |training| training.gradient_checkpointing = true);
            let (checkpointed, same) = step(model, &options, 1);
            assert!((plain.loss - checkpointed.loss).abs() < 1e-6, "{family}");
            assert!((plain.norm - checkpointed.norm).abs() < 1e-6 * plain.norm, "{family}");
            assert!(difference(&weights, &same) < 1e-6, "{family} differs by {}", difference(&weights, &same));
        }
    }
}

#[test]
fn gradient_checkpointing_goes_down_only_as_far_as_something_is_trained() {
    let lora = LoraConfig {
        rank: 2,
        alpha: 4.0,
        dropout: 0.1,
        targets: Targets::of(&["query".into(), "value".into()]),
        rslora: false,
        modules_to_save: Vec::new(),
    };
    let head = |name: &str| name.starts_with("classifier");
    let upper = |name: &str| name.contains("layer.1.") || name.starts_with("classifier");
    let models = [
        (model(0.1, 1).set_trainable(head), 3),
        (model(0.1, 1).set_trainable(upper), 2),
        (model(0.1, 1).add_lora(&lora, 1).unwrap(), 1),
        (model(0.1, 1), 0),
    ];
    for (model, lowest) in models {
        assert_eq!(model.lowest_trained(), Some(lowest));
        let (_, weights) = step(model.clone(), &linear(), 1);
        let (_, same) = step(model, &with(linear(), |training| training.gradient_checkpointing = true), 1);
        assert!(difference(&weights, &same) < 1e-6, "from piece {lowest} on");
    }
}

#[test]
fn two_halves_give_the_gradient_of_the_whole() {
    let (whole, weights) = step(model(0.0, 1), &linear(), 1);
    let (halves, same) = step(model(0.0, 1), &linear(), 2);
    assert!((whole.loss - halves.loss).abs() < 1e-6 && (whole.norm - halves.norm).abs() < 1e-5);
    assert!(difference(&weights, &same) < 1e-6, "differ by {}", difference(&weights, &same));
    assert!(halves.positions <= whole.positions && halves.tokens == whole.tokens);
}

#[test]
fn several_devices_give_the_gradient_of_one() {
    // Burn's flex backend has a single device. Two ranks on it still have a replica, a thread and a graph each.
    for batch_size in [8, 7] {
        let one = with(linear(), |training| (training.batch_size, training.accumulation) = (batch_size, 2));
        let (alone, weights) = step(model(0.0, 1), &one, 1);
        for others in [1, 2] {
            let several = FitOptions { replicas: vec![Device::flex(); others], ..one.clone() };
            let (shared, same) = step(model(0.0, 1), &several, 1);
            assert!((alone.loss - shared.loss).abs() < 1e-6 && (alone.norm - shared.norm).abs() < 1e-5);
            assert_eq!(alone.tokens, shared.tokens);
            assert!(difference(&weights, &same) < 1e-6, "differ by {}", difference(&weights, &same));
        }
    }
}

#[test]
fn each_device_drops_other_neurons_and_always_the_same() {
    let options = FitOptions { replicas: vec![Device::flex()], ..linear() };
    let (first, weights) = step(model(0.5, 1), &options, 1);
    assert_eq!((first, weights), step(model(0.5, 1), &options, 1));
    let (alone, _) = step(model(0.5, 1), &linear(), 1);
    assert!(alone.loss != first.loss);
}

#[test]
fn bf16_gives_the_gradient_within_its_precision() {
    for (family, model) in families(0.0) {
        let (exact, weights) = step(model.clone(), &linear(), 1);
        let bf16 = with(linear(), |training| training.precision = Precision::Bf16);
        let (rounded, near) = step(model.clone(), &bf16, 1);
        // Eight bits have an error of 0.4 %; two layers add up a few of these errors.
        assert!((exact.loss - rounded.loss).abs() < 0.02 * exact.loss, "{family}: {exact:?} {rounded:?}");
        assert!((exact.norm - rounded.norm).abs() < 0.05 * exact.norm, "{family}: {exact:?} {rounded:?}");
        assert!(exact.loss != rounded.loss, "{family} was computed in f32");
        assert!(difference(&weights, &near) < 0.05 * exact.norm as f32, "{family}");
        let checkpointed = with(bf16, |training| training.gradient_checkpointing = true);
        assert!(difference(&near, &step(model, &checkpointed, 1).1) < 0.01 * exact.norm as f32, "{family}");
    }
}

/// Distillation that imitates everything possible of a teacher with three layers of this width.
fn imitation(student: &Model, width: usize) -> Objective {
    let text = format!(
        r#"{{"model_type": "roberta", "type_vocab_size": 1, "vocab_size": 40, "hidden_size": {width},
            "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 40,
            "initializer_range": 0.2, "pad_token_id": 1, "id2label": {{"0": "a", "1": "b", "2": "c"}},
            "label2id": {{"a": 0, "b": 1, "c": 2}}}}"#
    );
    let teacher = Model::init(&Config::parse(&text).unwrap(), 9, &Device::flex()).unwrap();
    let hidden = HiddenLoss { loss: Measure::Mse, weight: 1.0, layers: Depths::Uniform };
    let attention = AttentionLoss { weight: 0.5, layers: Depths::Uniform };
    let guide = Some(Guide::new(&teacher, student, Some(hidden), Some(attention)).unwrap());
    Objective::Distill { teacher: vec![0.5; 24 * 3], alpha: 0.5, temperature: 2.0, guide }
}

#[test]
fn a_teachers_guidance_is_the_same_however_the_rows_go_through() {
    for dropout in [0.0, 0.1] {
        for (family, student) in families(dropout) {
            for width in [16, 12] {
                let objective = imitation(&student, width);
                let options = with(linear(), |training| training.accumulation = 2);
                let (whole, weights) = step_towards(&objective, student.clone(), &options, 1);
                assert_eq!(weights.contains_key("projection.weight"), width != 16);
                let (unguided, _) = step(student.clone(), &options, 1);
                assert!(whole.loss > unguided.loss, "{family}: nothing was added");
                let same = |(other, others): (Seen, BTreeMap<String, Vec<f32>>), how: &str| {
                    assert!((whole.loss - other.loss).abs() < 3e-6 * whole.loss, "{family} {how}: {whole:?} {other:?}");
                    assert!((whole.norm - other.norm).abs() < 1e-5 * whole.norm, "{family} {how}: {whole:?} {other:?}");
                    let worst = difference(&weights, &others);
                    assert!(worst < 3e-6, "{family} {how}: weights differ by {worst}");
                };
                let checkpointing = with(options.clone(), |training| training.gradient_checkpointing = true);
                same(step_towards(&objective, student.clone(), &checkpointing, 1), "layer by layer");
                if dropout == 0.0 {
                    same(step_towards(&objective, student.clone(), &options, 2), "in halves");
                    let two = FitOptions { replicas: vec![Device::flex()], ..options.clone() };
                    same(step_towards(&objective, student.clone(), &two, 1), "on two devices");
                    // Wider than any row, so that there is much padding, which nothing may imitate.
                    let wide = with(options, |training| training.padding = Padding::Fixed(30));
                    same(step_towards(&objective, student.clone(), &wide, 2), "padded");
                }
            }
        }
    }
}

#[test]
fn layers_that_are_not_trained_are_not_held_against_the_teacher() {
    for width in [16, 12] {
        let student = model(0.1, 1).finetune_last(1).unwrap();
        let objective = imitation(&student, width);
        let (whole, weights) = step_towards(&objective, student.clone(), &linear(), 1);
        let checkpointing = with(linear(), |training| training.gradient_checkpointing = true);
        let (other, same) = step_towards(&objective, student, &checkpointing, 1);
        assert!((whole.loss - other.loss).abs() < 3e-6 * whole.loss, "{whole:?} {other:?}");
        assert!(difference(&weights, &same) < 3e-6, "differ by {}", difference(&weights, &same));
    }
}
