//! Tests of the training loop: torch's numbers, the same bits every time, and no step lost to an interruption.

mod effects;
mod failures;
mod guided;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use burn::tensor::Device;
use serde_json::Value;

use super::*;
use crate::compress::lora::{LoraConfig, Targets};
use crate::judge::metrics;
use crate::judge::metrics::{Metrics, Scoring};
use crate::model::fixture::Fixture;
use crate::model::{Config, HostTensors};
use crate::text::data::tokens::Split;
use crate::train::fit::{Criterion, Evaluation, FitOptions, Hyperparameters};
use crate::train::optimizer::AdamWSettings;
use crate::train::schedule::{Schedule, Shape, Warmup};
use crate::watch::{Measured, Silent};

/// Two layers of width 16 with dropout 0.1: a step takes milliseconds.
pub(crate) fn model(dropout: f64, seed: u64) -> Model {
    let config = format!(
        r#"{{"architectures": ["RobertaForSequenceClassification"], "model_type": "roberta", "vocab_size": 40,
            "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
            "max_position_embeddings": 40, "type_vocab_size": 1, "pad_token_id": 1, "initializer_range": 0.2, "layer_norm_eps": 1e-5,
            "hidden_dropout_prob": {dropout}, "attention_probs_dropout_prob": {dropout},
            "id2label": {{"0": "a", "1": "b", "2": "c"}}, "label2id": {{"a": 0, "b": 1, "c": 2}}}}"#
    );
    Model::init(&Config::parse(&config).unwrap(), seed, &Device::flex().autodiff()).unwrap()
}

/// Rows whose label is their second token; the other tokens are random.
pub(crate) fn tokens(rows: usize) -> Tokens {
    let split = |rows: usize, salt: usize| {
        let mut split = Split::default();
        for row in 0..rows {
            let label = (row * 5 + salt) % 3;
            let length = 3 + (row * 7 + salt) % 12;
            let mut ids: Vec<u32> = (0..length).map(|i| 10 + ((row * 13 + i * 29 + salt) % 28) as u32).collect();
            (ids[0], ids[1]) = (0, 4 + label as u32);
            split.push(&ids, label as u32, format!("row-{row}"));
        }
        split
    };
    Tokens {
        labels: ["a", "b", "c"].map(String::from).to_vec(),
        pad_id: 1,
        max_length: 16,
        train: split(rows, 0),
        validation: split(18, 4),
        test: Split::default(),
    }
}

pub(crate) fn options() -> Hyperparameters {
    Hyperparameters {
        epochs: 3,
        batch_size: 8,
        learning_rate: Some(3e-3),
        warmup_ratio: Some(0.1),
        ..Hyperparameters::default()
    }
}

fn run(model: Model, tokens: &Tokens, training: &Hyperparameters) -> Result<Fitted> {
    let options = training.clone().into();
    fit(model, tokens, &Objective::cross_entropy(), &options, None, &Device::flex(), &Silent)
}

fn bits(host: &HostTensors) -> Vec<(String, Vec<u32>)> {
    host.iter().map(|(name, tensor)| (name.clone(), tensor.data.iter().map(|x| x.to_bits()).collect())).collect()
}

fn weights(fitted: &Fitted) -> Vec<(String, Vec<u32>)> {
    bits(&fitted.model.to_host().unwrap())
}

/// `training.json`.
fn story(fitted: &Fitted) -> String {
    serde_json::to_string(&fitted.training).unwrap()
}

/// The largest difference between two weights, without key biases: softmax ignores them, so their gradient is
/// rounding noise, which Adam amplifies to full steps.
fn difference(a: &Model, b: &Model) -> f32 {
    let (a, b) = (a.to_host().unwrap(), b.to_host().unwrap());
    let pairs =
        a.iter().filter(|(name, _)| !name.ends_with("key.bias")).flat_map(|(name, a)| a.data.iter().zip(&b[name].data));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn five_steps_are_torchs() {
    let fixture = Fixture::open("roberta-tiny");
    let device = Device::flex();
    let model = Model::load(&fixture.dir, None, 0, &device).unwrap().model;
    let numbers = |value: &Value| -> Vec<f64> { serde_json::from_value(value.clone()).unwrap() };
    let expected_losses = numbers(&fixture.expected["train"]["losses"]);
    let expected_logits =
        fixture.expected["train"]["logits"].as_array().unwrap().iter().flat_map(numbers).collect::<Vec<_>>();
    let (ids, [_, width]) = fixture.matrix("input_ids");
    let (mask, _) = fixture.matrix("attention_mask");
    let mut train = Split::default();
    for ((ids, mask), label) in ids.chunks(width).zip(mask.chunks(width)).zip(fixture.labels()) {
        let real = mask.iter().sum::<f64>() as usize;
        let ids: Vec<u32> = ids[..real].iter().map(|&id| id as u32).collect();
        train.push(&ids, label as u32, String::new());
    }
    let labels = model.config().labels().to_vec();
    let tokens =
        Tokens { labels, pad_id: 1, max_length: 128, train, validation: Split::default(), test: Split::default() };
    let options = Hyperparameters {
        epochs: 5,
        batch_size: tokens.train.len(),
        learning_rate: Some(1e-3),
        schedule: Shape::Constant,
        weight_decay: 0.01,
        ..Hyperparameters::default()
    };
    for (batch_size, accumulation) in [(6, 1), (2, 3), (4, 2)] {
        let options = Hyperparameters { batch_size, accumulation, ..options.clone() };
        let fitted = run(model.clone(), &tokens, &options).unwrap();
        let losses: Vec<f64> = fitted.training.curve.iter().map(|point| point.loss).collect();
        for (got, want) in losses.iter().zip(&expected_losses) {
            assert!((got - want).abs() < 1e-4, "losses {losses:?}");
        }
        let scoring = Scoring { split: &tokens.train, pad_id: 1, batch_size: 6, device: &device };
        let logits = scoring.logits(&metrics::forward(&fitted.model), &Silent).unwrap();
        let differences = logits.iter().zip(&expected_logits).map(|(got, want)| (f64::from(*got) - want).abs());
        let worst = differences.fold(0.0, f64::max);
        assert!(logits.len() == 30 && worst < 1e-3, "logits differ by {worst}");
        println!("batch {batch_size} × {accumulation}: losses {losses:?}, logits differ by {worst:e}");
    }
}

#[test]
fn accumulation_equals_one_big_batch() {
    let tokens = tokens(61); // The last step is a part of one.
    let objective = Objective::CrossEntropy { smoothing: 0.1, class_weights: Some(vec![0.5, 1.0, 3.0]) };
    let fitted = [(12, 1), (4, 3), (5, 12), (60, 1)].map(|(batch_size, accumulation)| {
        let options = Hyperparameters { epochs: 2, batch_size, accumulation, ..options() };
        fit(model(0.0, 1), &tokens, &objective, &options.into(), None, &Device::flex(), &Silent).unwrap()
    });
    for (a, b) in [(0, 1), (2, 3)] {
        let worst = difference(&fitted[a].model, &fitted[b].model);
        assert!(worst < 1e-4, "weights differ by {worst}");
    }
    assert!(difference(&fitted[0].model, &fitted[2].model) > 1e-3);
    let losses = |fitted: &Fitted| fitted.training.curve.iter().map(|point| point.loss).collect::<Vec<_>>();
    assert!(losses(&fitted[0]).iter().zip(losses(&fitted[1])).all(|(a, b)| (a - b).abs() < 1e-4));
}

#[test]
fn it_learns_and_tells_the_whole_story() {
    #[derive(Default)]
    struct Told(Mutex<Vec<Measured>>, AtomicU64);
    impl Watch for Told {
        fn progress(&self, progress: Progress) {
            assert_eq!((progress.done, progress.unit), (self.1.fetch_add(1, Ordering::Relaxed) + 1, "step"));
        }
        fn measured(&self, measured: Measured) {
            self.0.lock().unwrap().push(measured);
        }
        fn note(&self, text: String) {
            panic!("{text}");
        }
        fn warn(&self, text: String) {
            panic!("{text}");
        }
        fn stopped(&self) -> bool {
            false
        }
    }
    let (tokens, watch) = (tokens(96), Told::default());
    let options = FitOptions::from(Hyperparameters { epochs: 12, ..options() });
    let fitted =
        fit(model(0.1, 2), &tokens, &Objective::cross_entropy(), &options, None, &Device::flex(), &watch).unwrap();
    let training = &fitted.training;
    assert_eq!((training.steps, training.stop, training.evaluations.len()), (144, Stop::Finished, 12));
    assert!(training.best.unwrap().value > 0.95, "{:?}", training.best);
    assert!(training.padding > 0.0 && training.padding < 0.3);
    assert_eq!(watch.1.load(Ordering::Relaxed), 144);
    let measured = watch.0.lock().unwrap();
    assert_eq!(measured.len(), 12);
    for (told, evaluation) in measured.iter().zip(&training.evaluations) {
        let metrics = evaluation.validation.as_ref().unwrap();
        let value = |name: &str| told.values.iter().find(|(known, _)| known == name).unwrap().1;
        assert_eq!((told.step, told.epoch, told.epochs, told.total), (evaluation.step, evaluation.epoch, 12, 144));
        assert_eq!((value("loss"), value("validation-loss")), (evaluation.train_loss, metrics.loss));
        assert_eq!((value("macro-f1"), value("accuracy")), (metrics.macro_f1, metrics.accuracy));
        let class = &metrics.per_class[1];
        assert_eq!(value(&format!("recall[{}]", class.label)), class.recall);
        assert_eq!((told.metric, told.every, told.patience), ("macro-f1", None, None));
    }
    assert!(measured[0].best);
    let kept = measured[11].kept.unwrap();
    assert_eq!((kept.step, kept.value), (training.best.unwrap().step, training.best.unwrap().value));
    // The returned model is that of the best epoch, not of the last.
    let device = Device::flex();
    let scoring = Scoring { split: &tokens.validation, pad_id: 1, batch_size: 64, device: &device };
    let logits = scoring.logits(&metrics::forward(&fitted.model), &Silent).unwrap();
    let metrics = Metrics::of(&logits, tokens.validation.labels(), &tokens.labels).unwrap();
    assert_eq!(metrics.macro_f1, training.best.unwrap().value);
    let json = serde_json::to_value(training).unwrap();
    assert_eq!((&json["steps"], &json["options"]["epochs"]), (&144.into(), &12.into()));
    assert_eq!(serde_json::from_value::<Vec<Evaluation>>(json["evaluations"].clone()).unwrap(), training.evaluations);
    assert!(fitted.timings.seconds > 0.0 && fitted.timings.curve.len() == training.curve.len());
}

#[test]
fn nothing_else_in_the_process_changes_a_bit() {
    let tokens = tokens(64);
    let lone = run(model(0.1, 3), &tokens, &options()).unwrap();
    let other = FitOptions { seed: 7, ..options().into() };
    let objective = Objective::cross_entropy();
    let (a, b, c) = std::thread::scope(|scope| {
        let a = scope.spawn(|| run(model(0.1, 3), &tokens, &options()).unwrap());
        let b = scope.spawn(|| run(model(0.1, 3), &tokens, &options()).unwrap());
        let c =
            scope.spawn(|| fit(model(0.1, 3), &tokens, &objective, &other, None, &Device::flex(), &Silent).unwrap());
        (a.join().unwrap(), b.join().unwrap(), c.join().unwrap())
    });
    assert!(weights(&lone) == weights(&a) && weights(&lone) == weights(&b));
    assert!(story(&lone) == story(&a) && story(&lone) == story(&b));
    assert!(weights(&lone) != weights(&c));
}

/// Asks the fit to stop after some steps.
struct StopAfter(u64, AtomicU64);

impl Watch for StopAfter {
    fn progress(&self, _: Progress) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
    fn measured(&self, _: Measured) {}
    fn note(&self, _: String) {}
    fn warn(&self, _: String) {}
    fn stopped(&self) -> bool {
        self.1.load(Ordering::Relaxed) >= self.0
    }
}

#[test]
fn an_interrupted_fit_ends_in_the_same_bits() {
    let tokens = tokens(44); // Six steps an epoch.
    let undisturbed = run(model(0.1, 4), &tokens, &options()).unwrap();
    let objective = Objective::cross_entropy();
    for (steps, every) in [(1, 0.0), (5, 60.0), (4, 0.0), (6, 60.0), (100, 0.0)] {
        let folder = tempfile::tempdir().unwrap();
        let options = FitOptions::from(Hyperparameters { checkpoint_minutes: every, ..options() });
        let mut stops = 0;
        let fitted = loop {
            let watch = StopAfter(steps, AtomicU64::new(0));
            match fit(model(0.1, 4), &tokens, &objective, &options, Some(folder.path()), &Device::flex(), &watch) {
                Ok(fitted) => break fitted,
                Err(error) => assert!(error.is::<Interrupted>(), "{error:#}"),
            }
            stops += 1;
        };
        assert!(stops >= 17 / steps, "{stops} stops after {steps} steps each");
        assert!(weights(&undisturbed) == weights(&fitted), "stopped after {steps} steps");
        assert_eq!(story(&undisturbed), story(&fitted));
        // Calling again returns a finished fit at once.
        let watch = StopAfter(0, AtomicU64::new(0));
        let again =
            fit(model(0.1, 4), &tokens, &objective, &options, Some(folder.path()), &Device::flex(), &watch).unwrap();
        assert!(weights(&fitted) == weights(&again) && watch.1.load(Ordering::Relaxed) == 0);
    }
}

#[test]
fn a_fit_in_rungs_ends_in_the_same_bits() {
    let tokens = tokens(44); // Six steps an epoch.
    let objective = Objective::cross_entropy();
    // Between two evaluations too: those of all rungs are those of the whole fit.
    for eval_steps in [None, Some(4)] {
        let whole = Hyperparameters { eval_steps, ..options() };
        let undisturbed = run(model(0.1, 4), &tokens, &whole).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut last = None;
        for until in [Some(1), Some(2), None] {
            let options = FitOptions::from(Hyperparameters { until, ..whole.clone() });
            let fitted =
                fit(model(0.1, 4), &tokens, &objective, &options, Some(folder.path()), &Device::flex(), &Silent)
                    .unwrap();
            let stop = if until.is_some() { Stop::Until } else { Stop::Finished };
            let steps = u64::from(until.unwrap_or(3)) * 6;
            assert_eq!((fitted.training.stop, fitted.training.steps), (stop, steps));
            // From the beginning, the rung is the same.
            let lone = run(model(0.1, 4), &tokens, &options.training).unwrap();
            assert!(weights(&lone) == weights(&fitted) && story(&lone) == story(&fitted), "until {until:?}");
            last = Some(fitted);
        }
        let last = last.unwrap();
        assert!(weights(&undisturbed) == weights(&last));
        assert_eq!(story(&undisturbed), story(&last));
        // A checkpoint of a later rung is of no use for an earlier one.
        let options = FitOptions::from(Hyperparameters { until: Some(1), ..whole });
        let first =
            fit(model(0.1, 4), &tokens, &objective, &options, Some(folder.path()), &Device::flex(), &Silent).unwrap();
        assert_eq!(first.training.steps, 6);
    }
}

#[test]
fn frozen_parameters_stay_and_have_no_state() {
    let tokens = tokens(32);
    let start = model(0.0, 5).set_trainable(|name| name.starts_with("classifier"));
    let before = start.to_host().unwrap();
    let optimizer = AdamW::new(AdamWSettings::default(), &start, &Device::flex());
    let fitted = run(start, &tokens, &options()).unwrap();
    for (name, tensor) in fitted.model.to_host().unwrap() {
        assert_eq!(tensor == before[&name], !name.starts_with("classifier"), "{name}");
    }
    assert_eq!(fitted.training.trainable_parameters, 16 * 16 + 16 + 16 * 3 + 3);
    assert_eq!(optimizer.state_len(), 2 * (16 * 16 + 16 + 16 * 3 + 3));
}

#[test]
fn lora_trains_adapters_and_head_alone_and_resumes_too() {
    let tokens = tokens(44);
    let lora = LoraConfig {
        rank: 2,
        alpha: 4.0,
        dropout: 0.1,
        targets: Targets::of(&["query".into(), "value".into()]),
        rslora: false,
        modules_to_save: Vec::new(),
    };
    let start = || model(0.1, 11).add_lora(&lora, 1).unwrap();
    let before = start().to_host().unwrap();
    let undisturbed = run(start(), &tokens, &options()).unwrap();
    for (name, tensor) in undisturbed.model.to_host().unwrap() {
        let trained = name.contains("lora_") || name.starts_with("classifier");
        assert_eq!(tensor != before[&name], trained, "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let fitted = loop {
        let watch = StopAfter(4, AtomicU64::new(0));
        let objective = Objective::cross_entropy();
        match fit(start(), &tokens, &objective, &options().into(), Some(folder.path()), &Device::flex(), &watch) {
            Ok(fitted) => break fitted,
            Err(error) => assert!(error.is::<Interrupted>(), "{error:#}"),
        }
    };
    assert!(weights(&undisturbed) == weights(&fitted));
}

#[test]
fn a_student_follows_its_teacher_against_the_labels() {
    let tokens = tokens(96);
    let shifted = |row: usize| (tokens.train.label(row) as usize + 1) % 3;
    let teacher =
        (0..96).flat_map(|row| (0..3).map(move |class| if class == shifted(row) { 4.0 } else { 0.0 })).collect();
    let objective = Objective::Distill { teacher, alpha: 0.0, temperature: 2.0, guide: None };
    let options = Hyperparameters { epochs: 12, metric: Criterion::Loss, ..options() };
    let mut blind = tokens.clone();
    blind.validation = Split::default();
    let fitted = fit(model(0.0, 8), &blind, &objective, &options.into(), None, &Device::flex(), &Silent).unwrap();
    let device = Device::flex();
    let scoring = Scoring { split: &tokens.train, pad_id: 1, batch_size: 64, device: &device };
    let logits = scoring.logits(&metrics::forward(&fitted.model), &Silent).unwrap();
    let labels: Vec<u32> = (0..96).map(|row| shifted(row) as u32).collect();
    assert!(Metrics::of(&logits, &labels, &tokens.labels).unwrap().accuracy > 0.95);
}
