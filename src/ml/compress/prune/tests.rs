//! Tests what pruning removes and keeps, and that training keeps removed weights at zero.

use std::sync::atomic::{AtomicU64, Ordering};

use burn::module::Module;
use burn::tensor::Device;

use super::*;
use crate::compute::dropout::Pass;
use crate::files::host::HostTensor;
use crate::model::fixture::Fixture;
use crate::text::data::tokens::{Split, Tokens};
use crate::train::fit::{FitOptions, Fitted, Hyperparameters, fit};
use crate::train::objective::Objective;
use crate::train::optimizer::{Accumulated, AdamW, AdamWSettings};
use crate::watch::{Interrupted, Measured, Progress, Silent, Watch};

fn tensor(shape: &[usize], data: &[f32]) -> HostTensor {
    HostTensor { shape: shape.to_vec(), data: data.to_vec() }
}

fn tensors() -> HostTensors {
    HostTensors::from([
        ("embeddings.word_embeddings.weight".into(), tensor(&[2, 2], &[0.001; 4])),
        ("a.weight".into(), tensor(&[2, 5], &[5.0, -1.0, 3.0, -4.0, 2.0, 6.0, -7.0, 8.0, 9.0, -10.0])),
        ("a.bias".into(), tensor(&[2], &[0.001, 0.001])),
        ("b.weight".into(), tensor(&[2, 5], &[0.1, 0.2, -0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])),
        ("LayerNorm.weight".into(), tensor(&[2], &[0.001, 0.001])),
    ])
}

fn share(sparsity: f64, scope: Scope) -> Pruning {
    Pruning::of(Method::Magnitude { sparsity, scope })
}

#[test]
fn local_takes_the_same_share_of_every_matrix() {
    let mut tensors = tensors();
    let report = share(0.3, Scope::Local).prune(&mut tensors).expect("pruned");
    assert_eq!(tensors["a.weight"].data, [5.0, 0.0, 0.0, -4.0, 0.0, 6.0, -7.0, 8.0, 9.0, -10.0]);
    assert_eq!(tensors["b.weight"].data[..4], [0.0, 0.0, 0.0, 0.4]);
    assert_eq!((report.weights, report.zeroed, report.achieved), (20, 6, 0.3));
    let names: Vec<&str> = report.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["a.weight", "b.weight"]);
}

#[test]
fn global_takes_the_smallest_of_all() {
    let mut tensors = tensors();
    let report = share(0.3, Scope::Global).prune(&mut tensors).expect("pruned");
    assert_eq!(report.layers.iter().map(|layer| layer.zeroed).collect::<Vec<_>>(), [0, 6]);
    assert_eq!(report.zeroed, 6);
}

#[test]
fn everything_but_the_targets_is_left_alone() {
    let mut all = tensors();
    share(0.9, Scope::Global).prune(&mut all).expect("pruned");
    for name in ["embeddings.word_embeddings.weight", "a.bias", "LayerNorm.weight"] {
        assert_eq!(all[name], tensors()[name]);
    }
    let mut one = tensors();
    let pruning = Pruning { targets: vec![Target::Modules("b".into())], ..share(0.5, Scope::Global) };
    let report = pruning.prune(&mut one).expect("pruned");
    assert_eq!((report.layers.len(), report.weights, report.zeroed), (1, 10, 5));
    assert_eq!(one["a.weight"], tensors()["a.weight"]);
}

#[test]
fn of_equal_weights_the_first_go() {
    let mut tensors = HostTensors::from([("a.weight".into(), tensor(&[1, 4], &[1.0, -1.0, 1.0, -1.0]))]);
    share(0.5, Scope::Local).prune(&mut tensors).expect("pruned");
    assert_eq!(tensors["a.weight"].data, [0.0, 0.0, 1.0, -1.0]);
}

#[test]
fn counts_are_exact_and_pruning_twice_equals_pruning_once() {
    let data: Vec<f32> = (0..10_007).map(|i: i32| ((i * 7919) % 10_007 - 5000) as f32 * 1e-3).collect();
    for sparsity in [0.0, 0.29, 0.3, 0.5, 0.999] {
        let mut tensors = HostTensors::from([("a.weight".into(), tensor(&[1, 10_007], &data))]);
        let before = data.iter().filter(|v| **v == 0.0).count();
        let report = share(sparsity, Scope::Local).prune(&mut tensors).expect("pruned");
        assert_eq!(report.zeroed, ((sparsity * 10_007.0) as usize).max(before), "{sparsity}");
        let once = tensors.clone();
        share(sparsity, Scope::Local).prune(&mut tensors).expect("pruned");
        assert_eq!(tensors, once);
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let message = |pruning: Pruning| pruning.prune(&mut tensors()).map(|_| ()).expect_err("refused").to_string();
    for sparsity in [1.0, 1.5, -0.1, f64::NAN] {
        assert!(message(share(sparsity, Scope::Local)).starts_with("sparsity is"));
    }
    let pattern: Pattern = "2:4".parse().expect("a pattern");
    assert_eq!(
        message(Pruning::of(Method::Pattern(pattern))),
        "matrix a.weight has 5 inputs, not a multiple of 4 (pattern 2:4); leave it out with `targets`, or choose \
         another pattern"
    );
    let gradual = |steps, until| Pruning { gradual: Some(Gradual { steps, until }), ..share(0.5, Scope::Local) };
    let refused = |pruning: Pruning| pruning.check(Some(10)).expect_err("refused").to_string();
    assert_eq!(refused(gradual(0, 0.5)), "gradual.steps is 0; at least 1 is needed");
    assert_eq!(refused(gradual(3, 1.5)), "gradual.until is 1.5; it must be above 0 and at most 1");
    assert_eq!(
        refused(gradual(6, 0.5)),
        "gradual.steps is 6, but the full sparsity is due after 5 of 10 optimizer steps; lower it or train longer"
    );
    assert!(gradual(5, 0.5).check(Some(10)).is_ok());
    let both = Pruning { method: Method::Pattern(pattern), ..gradual(3, 0.5) };
    assert_eq!(refused(both), "an n:m pattern cannot be reached gradually; remove `gradual`, or prune by sparsity");
}

#[test]
fn what_is_written_down_reads_back() {
    let pruning = Pruning {
        method: Method::Pattern("2:4".parse().expect("a pattern")),
        targets: vec![Target::Ffn, Target::Modules("layer.*.query".into())],
        gradual: None,
    };
    let text = serde_json::to_string(&pruning).expect("written");
    assert_eq!(text, r#"{"method":{"pattern":"2:4"},"targets":["ffn","layer.*.query"],"gradual":null}"#);
    assert_eq!(serde_json::from_str::<Pruning>(&text).expect("read"), pruning);
}

/// A model of each family in training, with its gradients of one batch.
fn families() -> Vec<(Fixture, Model)> {
    let device = Device::flex().autodiff();
    let load = |fixture: Fixture| {
        let model = Model::load(&fixture.dir, None, 0, &device).expect("loads").model.train();
        (fixture, model)
    };
    Fixture::classifiers().into_iter().map(load).collect()
}

#[test]
fn held_weights_stay_zero_in_every_family_whatever_momentum_and_decay_say() {
    let device = Device::flex().autodiff();
    let settings = AdamWSettings { weight_decay: 0.1, ..AdamWSettings::default() };
    for (fixture, mut model) in families() {
        let mut optimizer = AdamW::new(settings, &model, &device);
        let pruning = share(0.4, Scope::Local);
        let step = |model: Model, optimizer: &mut AdamW| {
            let (ids, mask) = fixture.batch(&device);
            let loss = model.forward(ids, mask, &mut Pass::Off).square().mean();
            let mut grads = Accumulated::default();
            grads.add(&model, loss.backward(), optimizer).expect("added");
            optimizer.step(model, grads, 1e-2, Some(0.1)).expect("a step").0
        };
        // The first pass builds up momentum, the second has the mask.
        for _ in 0..2 {
            model = step(model, &mut optimizer);
        }
        let (pruned, masks) = pruning.apply(model, 1.0).expect("applied");
        optimizer.hold(masks).expect("held");
        let before = pruned.to_host().expect("host");
        model = pruned;
        for _ in 0..5 {
            model = step(model, &mut optimizer);
        }
        let after = model.to_host().expect("host");
        let report = pruning.report(&after).expect("a report");
        let name = fixture.name();
        for layer in &report.layers {
            assert_eq!(layer.zeroed, (0.4 * layer.weights as f64 + 1e-6) as usize, "{name}: {}", layer.name);
            let (before, after) = (&before[&layer.name].data, &after[&layer.name].data);
            assert!(before.iter().zip(after).all(|(b, a)| (*b == 0.0) == (*a == 0.0)), "{name}: {}", layer.name);
            // Zero bit for bit: no −0 either.
            assert!(after.iter().all(|w| *w != 0.0 || w.to_bits() == 0), "{name}: {}", layer.name);
            assert!(before.iter().zip(after).any(|(b, a)| b != a), "{name}: {} is not trained", layer.name);
        }
    }
}

#[test]
fn what_is_applied_in_training_is_what_host_tensors_lose() {
    for (fixture, model) in families() {
        for pruning in [share(0.3, Scope::Global), Pruning::of(Method::Pattern("1:2".parse().expect("a pattern")))] {
            let mut host = model.to_host().expect("host");
            pruning.prune(&mut host).expect("pruned");
            let (applied, masks) = pruning.apply(model.clone(), 1.0).expect("applied");
            assert!(applied.to_host().expect("host") == host, "{}", fixture.name());
            assert_eq!(
                masks.values().map(Mask::removed).sum::<usize>(),
                pruning.report(&host).expect("a report").zeroed,
                "{}",
                fixture.name()
            );
            let trained = |model: &Model| model.parameters().iter().map(|p| (p.id, p.trainable)).collect::<Vec<_>>();
            assert_eq!(trained(&applied), trained(&model));
        }
    }
}

#[test]
fn zeros_that_were_there_before_are_held_too() {
    for (fixture, model) in families() {
        // Removes half of the attention, then a tenth of the feed-forward half, then nothing more.
        let attention = Pruning { targets: vec![Target::Attention], ..share(0.5, Scope::Local) };
        let (model, first) = attention.apply(model, 1.0).expect("applied");
        let ffn = Pruning { targets: vec![Target::Ffn], ..share(0.1, Scope::Local) };
        let (model, second) = ffn.apply(model, 1.0).expect("applied");
        let (_, third) = share(0.0, Scope::Local).apply(model, 1.0).expect("applied");
        assert!(first.iter().all(|(name, mask)| second[name] == *mask), "{}", fixture.name());
        assert!(second.len() > first.len() && third == second, "{}", fixture.name());
    }
}

/// Rows of random tokens for a fixture's model.
fn rows(model: &Model, count: usize) -> Tokens {
    let labels = model.config().labels().to_vec();
    let split = |salt: usize| {
        let mut split = Split::default();
        for row in 0..count {
            let length = 3 + (row * 7 + salt) % 9;
            let ids: Vec<u32> = (0..length).map(|i| 5 + ((row * 13 + i * 29 + salt) % 30) as u32).collect();
            split.push(&ids, ((row + salt) % labels.len()) as u32, format!("row-{row}"));
        }
        split
    };
    let (train, validation) = (split(0), split(4));
    let pad_id = model.config().pad_id();
    Tokens { labels: labels.clone(), pad_id, max_length: 16, train, validation, test: Split::default() }
}

fn options(pruning: Pruning) -> FitOptions {
    let training = Hyperparameters {
        epochs: 3,
        batch_size: 4,
        learning_rate: Some(3e-3),
        weight_decay: 0.1,
        ..Hyperparameters::default()
    };
    FitOptions { pruning: Some(pruning), ..training.into() }
}

fn run(model: Model, tokens: &Tokens, options: &FitOptions) -> Fitted {
    fit(model, tokens, &Objective::cross_entropy(), options, None, &Device::flex(), &Silent).expect("fitted")
}

/// Asks the fit to stop after each step.
struct StopEach(AtomicU64);

impl Watch for StopEach {
    fn progress(&self, _: Progress) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn measured(&self, _: Measured) {}
    fn note(&self, _: String) {}
    fn warn(&self, _: String) {}
    fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

#[test]
fn a_fit_ends_with_the_exact_sparsity_and_in_the_same_bits_when_interrupted_at_each_step() {
    let gradual = Gradual { steps: 3, until: 0.4 };
    let ways = [
        share(0.3, Scope::Local),
        Pruning { gradual: Some(gradual), targets: vec![Target::Ffn], ..share(0.6, Scope::Global) },
        Pruning::of(Method::Pattern("2:4".parse().expect("a pattern"))),
    ];
    for fixture in Fixture::classifiers()
        .into_iter()
        .filter(|f| ["roberta-tiny", "distilbert", "bert-longest", "deberta-v2"].contains(&f.name().as_str()))
    {
        for pruning in &ways {
            let load = || Model::load(&fixture.dir, None, 0, &Device::flex().autodiff()).expect("loads").model;
            let tokens = rows(&load(), 18); // Five steps an epoch.
            let options = options(pruning.clone());
            let undisturbed = run(load(), &tokens, &options);
            let host = undisturbed.model.to_host().expect("host");
            let mut again = host.clone();
            let report = pruning.prune(&mut again).expect("pruned");
            assert!(again == host, "{}: {pruning:?} is not held", fixture.name());
            let exact = match pruning.method {
                Method::Magnitude { sparsity, .. } => sparsity,
                Method::Pattern(pattern) => pattern.sparsity(),
            };
            assert!((report.achieved - exact).abs() < 1e-3 && report.achieved <= exact + 1e-9, "{}", report.achieved);

            let folder = tempfile::tempdir().expect("a folder");
            let mut stops = 0;
            let resumed = loop {
                let watch = StopEach(AtomicU64::new(0));
                let objective = Objective::cross_entropy();
                match fit(load(), &tokens, &objective, &options, Some(folder.path()), &Device::flex(), &watch) {
                    Ok(fitted) => break fitted,
                    Err(error) => assert!(error.is::<Interrupted>(), "{error:#}"),
                }
                stops += 1;
            };
            assert!(stops >= 14, "{stops}");
            assert!(resumed.model.to_host().expect("host") == host, "{}: {pruning:?}", fixture.name());
        }
    }
}

#[test]
fn a_gradual_fit_keeps_no_model_from_before_its_sparsity_is_reached() {
    let fixture = Fixture::open("roberta-tiny");
    let model = Model::load(&fixture.dir, None, 0, &Device::flex().autodiff()).expect("loads").model;
    let tokens = rows(&model, 18);
    let pruning = Pruning { gradual: Some(Gradual { steps: 4, until: 0.9 }), ..share(0.5, Scope::Local) };
    // The sparsity is reached before the 14th of 15 steps; the rate is so high that the first model is hard to beat.
    let mut options = options(pruning.clone());
    options.training =
        Hyperparameters { eval_steps: Some(1), learning_rate: Some(5e-2), patience: Some(1), ..options.training };
    let fitted = run(model, &tokens, &options);
    let best = fitted.training.best.expect("a best model");
    assert!(best.step >= 14 && fitted.training.evaluations.len() >= 14, "{best:?}");
    let report = pruning.report(&fitted.model.to_host().expect("host")).expect("a report");
    assert!((report.achieved - 0.5).abs() < 1e-3, "{}", report.achieved);
}
