//! Compares smaller models of every family with the models that they were made from.

use std::path::Path;

use super::*;
use crate::compress::lora::{LoraConfig, Targets};
use crate::compress::quantize::{Request, Scheme, quantize};
use crate::compute::dropout::Pass;
use crate::compute::numbers::log_softmax;
use crate::judge::classifier::Classifier;
use crate::judge::inspect::{Depth, What, inspect};
use crate::model::fixture::Fixture;
use crate::onnx;
use crate::text::data::Split;
use crate::watch::Silent;

/// One of each family.
const FAMILIES: [&str; 4] = ["roberta-longest", "bert-longest", "distilbert", "deberta-v2"];

fn load(fixture: &Fixture) -> Model {
    Model::load(&fixture.dir, None, 0, &Device::flex()).expect("loads").model
}

/// The rows of a fixture that have tokens.
fn split(fixture: &Fixture) -> Split {
    let ((ids, [_, width]), (mask, _)) = (fixture.matrix("input_ids"), fixture.matrix("attention_mask"));
    let mut split = Split::default();
    for ((ids, mask), label) in ids.chunks(width).zip(mask.chunks(width)).zip(fixture.labels()) {
        let real: Vec<u32> = ids.iter().zip(mask).filter(|(_, m)| **m > 0.0).map(|(id, _)| *id as u32).collect();
        if !real.is_empty() {
            split.push(&real, label as u32, String::new());
        }
    }
    split
}

fn rows<'a>(split: &'a Split, model: &Model) -> LabelledRows<'a> {
    LabelledRows { split, pad_id: model.config().pad_id(), most: 256 }
}

fn logits(model: &Model, fixture: &Fixture) -> Vec<f32> {
    let (ids, mask) = fixture.batch(&Device::flex());
    model.forward(ids, mask, &mut Pass::Off).into_data().try_into_vec().expect("f32")
}

fn farthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The model with column `neuron` of a layer's narrow half times `factor`: the effect of a gate with that value.
fn gated(model: &Model, (layer, neurons): (usize, &[usize]), factor: f32) -> Model {
    let mut host = model.to_host().expect("host");
    for (name, tensor) in &mut host {
        if place(name).part == Part::Layer(layer) && half(name) == Some(Half::Narrow) && tensor.shape.len() == 2 {
            let width = tensor.shape[1];
            tensor.data.chunks_mut(width).for_each(|row| neurons.iter().for_each(|neuron| row[*neuron] *= factor));
        }
    }
    Model::with_values(model.config(), host, &Device::flex()).expect("filled")
}

fn shrunk(model: Model, share: f64, split: &Split) -> (Model, Removed) {
    let neurons = Some(Neurons { share, rows: rows(split, &model) });
    remove(model, &Removal { layers: None, neurons }, &Device::flex(), &Silent).expect("removed")
}

#[test]
fn neurons_that_reach_nothing_go_first_and_leave_the_logits_as_they_are() {
    for fixture in Fixture::classifiers() {
        let (name, split) = (fixture.name(), split(&fixture));
        let mut model = load(&fixture);
        let (layers, width) = (model.config().layers(), model.config().intermediate_size());
        // Different neurons in each layer, 30 % of all.
        let left = super::width(width, 0.3).expect("a width");
        let dead = |layer: usize| -> Vec<usize> { (0..width - left).map(|i| (i * 3 + layer) % width).collect() };
        for layer in 0..layers {
            model = gated(&model, (layer, &dead(layer)), 0.0);
        }
        let before = logits(&model, &fixture);
        let importance = importance::of_neurons(&model, &rows(&split, &model), &Device::flex(), &Silent).expect("seen");
        assert_eq!(importance.len(), layers, "{name}");
        for (layer, importance) in importance.iter().enumerate() {
            assert!(dead(layer).iter().all(|&neuron| importance[neuron] == 0.0), "{name}: {importance:?}");
        }
        let (smaller, removed) = shrunk(model, 0.3, &split);
        let neurons = removed.neurons.expect("neurons went");
        assert_eq!((neurons.width_before, neurons.width_after), (width, left), "{name}");
        assert!(neurons.layers.iter().all(|layer| layer.importance_removed == 0.0), "{name}: {:?}", neurons.layers);
        assert_eq!(smaller.config().intermediate_size(), neurons.width_after);
        let difference = farthest(&logits(&smaller, &fixture), &before);
        assert!(difference < 1e-5, "{name}: {difference}");
        assert!(removed.parameters_after < removed.parameters_before && smaller.count() == removed.parameters_after);
    }
}

/// ∂L/∂ξ, measured by closing and opening the gate a little.
fn slope(model: &Model, gate: (usize, usize), row: usize, split: &Split) -> f64 {
    const STEP: f32 = 0.02;
    let loss = |factor| -> f64 {
        let model = gated(model, (gate.0, &[gate.1]), factor);
        let batch = crate::text::batch::Batch::collect(split, &[row], 0, crate::text::batch::Padding::Bucketed);
        let (ids, mask) = batch.to_device(&Device::flex());
        let logits: Vec<f32> = model.forward(ids, mask, &mut Pass::Off).into_data().try_into_vec().expect("f32");
        let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
        -log_softmax(&logits)[split.label(row) as usize]
    };
    (loss(1.0 + STEP) - loss(1.0 - STEP)) / (2.0 * f64::from(STEP))
}

#[test]
fn importance_is_the_slope_of_each_rows_loss_at_the_gate() {
    for name in FAMILIES {
        let fixture = Fixture::open(name);
        let (model, split) = (load(&fixture), split(&fixture));
        let found = importance::of_neurons(&model, &rows(&split, &model), &Device::flex(), &Silent).expect("seen");
        let mut worst = 0f64;
        for (layer, importance) in found.iter().enumerate() {
            let largest = importance.iter().copied().fold(0.0, f64::max);
            for neuron in (0..importance.len()).step_by(5) {
                let slopes = (0..split.len()).map(|row| slope(&model, (layer, neuron), row, &split).abs());
                let expected = slopes.sum::<f64>() / split.len() as f64;
                worst = worst.max((importance[neuron] - expected).abs() / largest);
            }
        }
        println!("{name}: importances differ by {worst:.1e} of the largest");
        assert!(worst < 2e-3, "{name}: {worst}");
    }
}

#[test]
fn rows_that_pull_in_opposite_directions_do_not_cancel() {
    let fixture = Fixture::open("roberta-longest");
    let model = load(&fixture);
    let one = |labels: &[u32]| {
        let mut split = Split::default();
        labels.iter().for_each(|label| split.push(&[5, 9, 11, 7], *label, String::new()));
        importance::of_neurons(&model, &rows(&split, &model), &Device::flex(), &Silent).expect("seen").concat()
    };
    let (a, b, both) = (one(&[0]), one(&[1]), one(&[0, 1]));
    assert!(a.iter().zip(&b).any(|(a, b)| (a - b).abs() > 1e-6));
    for (i, both) in both.iter().enumerate() {
        assert!((both - (a[i] + b[i]) / 2.0).abs() < 1e-9, "{i}: {both} {} {}", a[i], b[i]);
    }
}

#[test]
fn at_most_so_many_rows_are_read_evenly_spaced() {
    let fixture = Fixture::open("roberta-longest");
    let model = load(&fixture);
    let rows_of = |ids: &[u32]| {
        let mut split = Split::default();
        ids.iter().for_each(|id| split.push(&[0, *id, 2], 0, String::new()));
        split
    };
    let (all, every_second) = (rows_of(&[5, 6, 7, 8]), rows_of(&[5, 7]));
    let of = |rows: &LabelledRows| importance::of_neurons(&model, rows, &Device::flex(), &Silent).expect("seen");
    assert_eq!(of(&LabelledRows { most: 2, ..rows(&all, &model) }), of(&rows(&every_second, &model)));
}

/// A pruned copy of a fixture.
fn saved(fixture: &Fixture, share: f64) -> (tempfile::TempDir, Model) {
    let dir = tempfile::tempdir().expect("a folder");
    let (smaller, _) = shrunk(load(fixture), share, &split(fixture));
    smaller.save(dir.path(), smaller.config().labels()).expect("saved");
    (dir, smaller)
}

/// Compares folders that `prune` wrote with `structure = ["ffn"]` with what transformers computes from them unchanged
/// (`scripts/parity/make_cases.py`).
#[test]
fn transformers_computes_the_same_from_a_pruned_folder() {
    for name in ["roberta", "bert", "distilbert", "deberta"] {
        let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("tests/fixtures/pruned").join(name);
        let expected = std::fs::read(dir.join("expected.json")).expect("expected.json");
        let fixture = Fixture { dir, expected: serde_json::from_slice(&expected).expect("JSON") };
        let model = load(&fixture);
        assert_eq!(model.config().intermediate_size(), 24, "{name}: of 40");
        let (ids, mask) = fixture.batch(&Device::flex());
        let difference = fixture.difference("logits", model.forward(ids, mask, &mut Pass::Off));
        println!("{name}: largest logit difference {difference:.1e}");
        assert!(difference < 1e-4, "{name}: {difference}");
    }
}

#[test]
fn what_comes_next_takes_any_width() {
    for name in FAMILIES {
        let fixture = Fixture::open(name);
        // 40 neurons become 23, which is not a multiple of anything useful.
        let (dir, smaller) = saved(&fixture, 0.42);
        assert_eq!(smaller.config().intermediate_size(), 23, "{name}");
        let expected = logits(&smaller, &fixture);

        let score = |dir: &Path| {
            let classifier = Classifier::open(dir, &Device::flex()).expect("opens");
            let (ids, mask) = fixture.batch(classifier.device());
            classifier.logits(ids, mask).expect("scored")
        };
        assert_eq!(score(dir.path()), expected, "{name}");
        let found = inspect(dir.path(), What::Model, Depth::Weights).expect("inspected");
        assert!(found.notes.is_empty(), "{name}: {:?}", found.notes);

        let int8 = tempfile::tempdir().expect("a folder");
        let report = quantize(dir.path(), int8.path(), &Request::new(Scheme::Int8), &Silent);
        assert!(report.expect("quantized").bytes_after > 0);
        let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
        let difference = farthest(&score(int8.path()), &expected);
        assert!(difference > 0.0 && difference < 0.05 * largest.max(1.0), "{name}: {difference}");

        let file = tempfile::tempdir().expect("a folder");
        onnx::convert(dir.path(), file.path(), onnx::Precision::Int8, None, &Silent).expect("converted");
        rten::Model::load_file(file.path().join(onnx::MODEL)).expect("an ONNX file");

        let half = student::with_layers(&smaller, &[1], &Device::flex()).expect("a student");
        assert_eq!((half.depth(), half.config().intermediate_size()), (1, 23));
        let lora = LoraConfig {
            rank: 2,
            alpha: 4.0,
            dropout: 0.0,
            targets: Targets::of(&["all-linear".into()]),
            rslora: false,
            modules_to_save: Vec::new(),
        };
        // A fresh adapter changes nothing.
        let adapted = smaller.add_lora(&lora, 0).expect("adapted");
        assert!(farthest(&logits(&adapted, &fixture), &expected) < 1e-6, "{name}");
    }
}

#[test]
fn layers_and_neurons_go_together() {
    let fixture = Fixture::open("roberta-tiny");
    let (model, split) = (load(&fixture), split(&fixture));
    let neurons = Some(Neurons { share: 0.5, rows: rows(&split, &model) });
    let removal = Removal { layers: Some(&[0, 2]), neurons };
    let (smaller, removed) = remove(model, &removal, &Device::flex(), &Silent).expect("removed");
    assert_eq!((removed.layers_before, &removed.layers[..]), (3, &[0, 2][..]));
    let neurons = removed.neurons.expect("neurons went");
    assert_eq!((neurons.width_before, neurons.width_after, neurons.rows, neurons.layers.len()), (96, 48, 6, 2));
    for layer in neurons.layers {
        assert!(layer.removed == 48 && layer.largest_removed <= layer.smallest_kept, "{layer:?}");
        assert!(layer.importance_removed > 0.0 && layer.importance_removed < 0.5, "{layer:?}");
    }
    assert_eq!((smaller.depth(), smaller.config().intermediate_size()), (2, 48));
    assert!(logits(&smaller, &fixture).iter().all(|x| x.is_finite()));
}

#[test]
fn widths_are_multiples_of_a_register_and_never_zero() {
    let width = |all, share| width(all, share).expect("a width");
    assert_eq!((width(3072, 0.4), width(3072, 0.0), width(3072, 0.999)), (1840, 3072, 16));
    assert_eq!((width(256, 0.4), width(512, 0.3)), (160, 352));
    // Too few neurons to round to a multiple of 16.
    assert_eq!((width(40, 0.42), width(48, 0.4), width(3, 0.99)), (23, 29, 1));
    // An odd width stays if nothing is removed.
    assert_eq!(width(1001, 0.0), 1001);
    for share in [1.0, -0.1, f64::NAN] {
        let error = super::width(48, share).map(|_| ()).expect_err("refused").to_string();
        assert!(error.starts_with("the share of neurons to remove is"), "{error}");
    }
}

#[test]
fn of_equally_important_neurons_the_first_go() {
    assert_eq!(most_important(&[1.0, 1.0, 3.0, 1.0, 2.0], 3), [2, 3, 4]);
    assert_eq!(most_important(&[0.0; 3], 3), [0, 1, 2]);
}

#[test]
fn what_cannot_be_done_is_said() {
    let fixture = Fixture::open("roberta-tiny");
    let (model, none) = (load(&fixture), Split::default());
    let device = Device::flex();
    let refused = |removal: &Removal| {
        remove(model.clone(), removal, &device, &Silent).map(|_| ()).expect_err("refused").to_string()
    };
    let neurons = Some(Neurons { share: 0.5, rows: rows(&none, &model) });
    let text = refused(&Removal { layers: None, neurons });
    assert_eq!(text, "there are no rows to measure importance with");
    let text = refused(&Removal { layers: Some(&[0, 3]), neurons: None });
    assert_eq!(text, "cannot keep the layers [0, 3]: the model has 3, numbered 0 to 2");
    let spoilt = gated(&model, (1, &[3]), f32::NAN);
    let split = split(&fixture);
    let text =
        importance::of_neurons(&spoilt, &rows(&split, &model), &device, &Silent).map(|_| ()).expect_err("refused");
    assert!(text.to_string().contains("are not finite"), "{text}");
    let text = keep_neurons(&model, &[vec![1], vec![1, 2], vec![1]], &device).map(|_| ()).expect_err("refused");
    assert!(text.to_string().starts_with("every layer must keep the same number"), "{text}");
}
