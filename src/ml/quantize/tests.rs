//! Quantized folders of every family, beside the models that they were made from.

use tempfile::TempDir;

use super::*;
use crate::ml::classifier::Classifier;
use crate::ml::model::fixture::Fixture;
use crate::ml::model::weights::Weights;
use crate::ml::watch::Silent;

fn request(scheme: Scheme) -> Request {
    Request { scheme, calibration: None }
}

/// A quantized copy of a fixture.
fn quantized(fixture: &Fixture, request: &Request) -> (TempDir, QuantizeReport) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let report = quantize(&fixture.dir, dir.path(), request, &Silent).expect("quantized");
    (dir, report)
}

/// Logits of a folder on the fixture's batch, as `evaluate` and `predict` compute them.
fn logits(dir: &Path, fixture: &Fixture) -> Vec<f32> {
    let classifier = Classifier::open(dir, &Device::flex()).expect("opens");
    let (ids, mask) = fixture.batch(classifier.device());
    classifier.logits(ids, mask).expect("scored")
}

/// ‖a − b‖ / ‖b‖
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    square(&mut a.iter().zip(b).map(|(a, b)| a - b)) / square(&mut b.iter().copied())
}

#[test]
fn every_family_computes_in_integers_and_close_to_floats() {
    let mut computed = 0;
    for fixture in Fixture::classifiers() {
        let (dir, report) = quantized(&fixture, &request(Scheme::Int8));
        let distance = distance(&logits(dir.path(), &fixture), &logits(&fixture.dir, &fixture));
        println!("{}: {} layers, logits differ by {distance:.4}", fixture.name(), report.layers.len());
        assert!(distance > 0.0 && distance < 0.05, "{}: {distance}", fixture.name());
        let mut model = Model::load_to_score(dir.path(), &Device::flex()).expect("loads").model;
        model.map_linears(&mut |_, linear| computed += usize::from(linear.int8.is_some()));
        assert!(report.layers.iter().all(|layer| layer.form == Form::Int8), "{:?}", report.layers);
    }
    assert!(computed > 0);
}

#[test]
fn int8_is_a_quarter_of_the_size() {
    let Some(fixture) = Fixture::open("roberta-tiny") else { return };
    let (_dir, report) = quantized(&fixture, &request(Scheme::Int8));
    assert!(report.bytes_after * 100 < report.bytes_before * 35, "{report:?}");
    // Three embedding tables and six matrices a layer; the head's two are floats.
    let integers = report.tensors.iter().filter(|t| t.bytes_after * 3 < t.bytes_before);
    assert_eq!(integers.count(), 3 + 3 * 6);
    assert!(report.tensors.iter().all(|t| t.relative_error < 0.01), "{report:?}");
    assert_eq!(report.layers.len(), 3 * 6);
    assert!(report.layers.is_sorted_by(|a, b| a.error >= b.error));
}

#[test]
fn a_fixed_range_for_each_layer_is_close_too() {
    let Some(fixture) = Fixture::open("roberta-tiny") else { return };
    let calibration = Calibration::random(&Config::open(&fixture.dir).expect("a config"));
    let (dir, report) = quantized(&fixture, &Request { scheme: Scheme::Int8Static, calibration: Some(calibration) });
    let distance = distance(&logits(dir.path(), &fixture), &logits(&fixture.dir, &fixture));
    println!("static: {distance:.4}");
    assert!(distance > 0.0 && distance < 0.05, "{distance}");
    let weights = Weights::open(dir.path()).expect("opened").expect("weights");
    let layer = &weights.tensors[&format!("{}.weight", report.layers_as(Form::Int8)[0])];
    let range = layer.read_range().expect("read").expect("a range");
    assert!(range.low < 0.0 && range.high > 0.0, "{range:?}");
}

#[test]
fn sixteen_bit_floats_are_half_the_size_and_closer() {
    let Some(fixture) = Fixture::open("roberta-tiny") else { return };
    for (scheme, most) in [(Scheme::Fp16, 1e-3), (Scheme::Bf16, 1e-2)] {
        let (dir, report) = quantized(&fixture, &request(scheme));
        assert!(report.bytes_after * 100 < report.bytes_before * 52 && report.layers.is_empty(), "{report:?}");
        let distance = distance(&logits(dir.path(), &fixture), &logits(&fixture.dir, &fixture));
        assert!(distance > 0.0 && distance < most, "{scheme}: {distance}");
    }
}

#[test]
fn what_cannot_be_quantized_is_refused() {
    let Some(fixture) = Fixture::open("roberta-tiny") else { return };
    let (one, _) = quantized(&fixture, &request(Scheme::Int8));
    let refused = |from: &Path, scheme| {
        let to = tempfile::tempdir().expect("a folder");
        format!("{:#}", quantize(from, to.path(), &request(scheme), &Silent).map(drop).expect_err("refused"))
    };
    assert_eq!(
        refused(one.path(), Scheme::Int8),
        format!("the model in {} is quantized already; quantize the model it was made from", one.path().display())
    );
    assert_eq!(
        refused(&fixture.dir, Scheme::Int8Static),
        "int8-static needs rows to find the ranges of activations in: give the stage `in.tokens`"
    );
    let empty = tempfile::tempdir().expect("a folder");
    fs::copy(fixture.dir.join("config.json"), empty.path().join("config.json")).expect("copied");
    assert_eq!(
        refused(empty.path(), Scheme::Int8),
        format!("model folder {} has no weights to quantize", empty.path().display())
    );
}

#[test]
fn weights_that_no_scheme_can_hold_are_refused() {
    let Some(fixture) = Fixture::open("roberta-tiny") else { return };
    let refused = |value: f32, scheme| {
        let (from, to) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let model = Model::load(&fixture.dir, None, 0, &Device::flex()).expect("loads").model;
        let mut host = model.to_host().expect("host");
        host.get_mut("classifier.dense.weight").expect("a head").data[3] = value;
        let labels = model.config().labels().to_vec();
        model.from_host(host).expect("filled").save(from.path(), &labels).expect("saved");
        let error = quantize(from.path(), to.path(), &request(scheme), &Silent).map(drop).expect_err("refused");
        error.root_cause().to_string()
    };
    assert_eq!(refused(1e6, Scheme::Fp16), "tensor classifier.dense.weight holds ±1000000, more than fp16's 65504");
    assert_eq!(
        refused(f32::NAN, Scheme::Bf16),
        "tensor classifier.dense.weight holds NaN; a model with such a weight cannot be quantized"
    );
}

#[test]
fn a_quantized_model_is_an_ordinary_one_to_those_who_ask_for_floats() {
    let Some(fixture) = Fixture::open("roberta-tiny") else { return };
    let (one, two) = (quantized(&fixture, &request(Scheme::Int8)).0, tempfile::tempdir().expect("a folder"));
    let model = Model::load(one.path(), None, 0, &Device::flex()).expect("loads").model;
    model.save(two.path(), model.config().labels()).expect("saved");
    assert_eq!(Config::open(two.path()).expect("valid").quantization(), None);
    let again = Model::load(two.path(), None, 0, &Device::flex()).expect("loads").model;
    assert!(again.to_host().expect("host") == model.to_host().expect("host"));
    // Also one that was opened to score, whose weights are integers until somebody asks.
    let scoring = Model::load_to_score(one.path(), &Device::flex()).expect("loads");
    assert!(scoring.model.to_host().expect("host") == model.to_host().expect("host"));
    assert_eq!(scoring.non_zero, Model::load(one.path(), None, 0, &Device::flex()).expect("loads").non_zero);
}

#[test]
fn rows_use_the_whole_range_and_zero_rows_stay_zero() {
    let tensor = HostTensor { shape: vec![2, 3], data: vec![-2.0, 1.0, 0.0, 0.0, 0.0, 0.0] };
    // 1.0 / (2 / 127) = 63.5 lies between two: to the even one.
    assert_eq!(matrix::rounded(&tensor).0, [-127, 64, 0, 0, 0, 0]);
}
