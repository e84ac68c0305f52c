//! Compares quantized folders of every family with the models that they were made from.

use tempfile::TempDir;

use super::*;
use crate::compute::dropout::Pass;
use crate::compute::int8::{Layer, Range, Rounding, Weight};
use crate::files::weights::Weights;
use crate::judge::classifier::Classifier;
use crate::model::fixture::{Fixture, with_outlier};
use crate::model::substitute::Integers;
use crate::watch::Silent;

fn request(scheme: Scheme) -> Request {
    Request::new(scheme)
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
    for fixture in Fixture::classifiers() {
        let (dir, report) = quantized(&fixture, &request(Scheme::Int8));
        let distance = distance(&logits(dir.path(), &fixture), &logits(&fixture.dir, &fixture));
        println!("{}: {} layers, logits differ by {distance:.4}", fixture.name(), report.layers.len());
        assert!(distance > 0.0 && distance < 0.05, "{}: {distance}", fixture.name());
        let mut model = Model::load_to_score(dir.path(), &Device::flex()).expect("loads").model;
        let mut computed = 0;
        model.map_linears(&mut |_, linear| computed += usize::from(linear.substitute.is_some()));
        // Six matrices per layer, or more if positions have projections of their own.
        assert!(computed == report.layers.len() && computed >= 6 * model.config().layers(), "{}", fixture.name());
        assert!(report.layers.iter().all(|layer| layer.form != Form::Float16), "{:?}", report.layers);
    }
}

#[test]
fn int8_is_a_quarter_of_the_size() {
    let fixture = Fixture::open("roberta-tiny");
    let (_dir, report) = quantized(&fixture, &request(Scheme::Int8));
    assert!(report.bytes_after * 100 < report.bytes_before * 35, "{report:?}");
    // Three embedding tables and six matrices per layer; the head's two matrices are floats.
    let integers = report.tensors.iter().filter(|t| t.bytes_after * 3 < t.bytes_before);
    assert_eq!(integers.count(), 3 + 3 * 6);
    assert!(report.tensors.iter().all(|t| t.relative_error < 0.01), "{report:?}");
    assert_eq!(report.layers.len(), 3 * 6);
    assert!(report.layers.is_sorted_by(|a, b| a.error >= b.error));
}

#[test]
fn a_fixed_range_for_each_layer_is_close_too() {
    let fixture = Fixture::open("roberta-tiny");
    let calibration = Calibration::random(&Config::open(&fixture.dir).expect("a config"));
    let (dir, report) =
        quantized(&fixture, &Request { calibration: Some(calibration), ..Request::new(Scheme::Int8Static) });
    let distance = distance(&logits(dir.path(), &fixture), &logits(&fixture.dir, &fixture));
    println!("static: {distance:.4}");
    assert!(distance > 0.0 && distance < 0.05, "{distance}");
    let weights = Weights::open(dir.path()).expect("opened").expect("weights");
    let layer = &weights.tensors[&format!("{}.weight", report.layers_as(Form::Int8)[0])];
    let range = layer.read_range().expect("read").expect("a range");
    assert!(range.low < 0.0 && range.high > 0.0, "{range:?}");
}

#[test]
fn four_bits_are_smaller_still_and_every_family_computes_with_them() {
    for fixture in Fixture::classifiers() {
        let inputs = |p: &&Named| p.layout == Layout::Transposed && p.name.strip_suffix(WEIGHT).is_some_and(may_round);
        let parameters = Model::outline(&Config::open(&fixture.dir).expect("a config"));
        let group = if parameters.iter().filter(inputs).all(|p| p.shape[1].is_multiple_of(16)) { 16 } else { 8 };
        let (dir, report) = quantized(&fixture, &Request { group, ..request(Scheme::Int4) });
        let (own, floats) = (logits(dir.path(), &fixture), logits(&fixture.dir, &fixture));
        println!("{}: in groups of {group}, logits differ by {:.4}", fixture.name(), distance(&own, &floats));
        assert!(distance(&own, &floats) > 0.0 && distance(&own, &floats) < 0.3, "{}", fixture.name());
        let four = report.layers_as(Form::Int4).len();
        assert!(report.layers.iter().all(|layer| layer.error > 0.0), "{:?}", report.layers);
        let mut model = Model::load_to_score(dir.path(), &Device::flex()).expect("loads").model;
        let mut computed = 0;
        model.map_linears(&mut |_, linear| computed += usize::from(linear.substitute.is_some()));
        assert!(computed == four && computed >= 5 * model.config().layers(), "{}: {four}", fixture.name());
        // Opening the folder as floats gives the values that the integers represent.
        let (ids, mask) = fixture.batch(&Device::flex());
        let model = Model::load(dir.path(), None, 0, &Device::flex()).expect("loads").model;
        let back: Vec<f32> = model.forward(ids, mask, &mut Pass::Off).into_data().try_into_vec().expect("f32");
        assert!(distance(&own, &back) < 1e-4, "{}: {}", fixture.name(), distance(&own, &back));
    }
}

#[test]
fn a_group_that_leaves_a_rest_is_refused_by_name() {
    let fixture = Fixture::open("roberta-tiny");
    let to = tempfile::tempdir().expect("a folder");
    let refused = |group| {
        let request = Request { group, ..request(Scheme::Int4) };
        quantize(&fixture.dir, to.path(), &request, &Silent).map(drop).expect_err("refused").to_string()
    };
    // 48 and 96 inputs.
    assert!(
        refused(128)
            .ends_with(".weight has 48 inputs, not a multiple of group-size 128; group-size = 48 fits all layers"),
        "{}",
        refused(128)
    );
    assert_eq!(refused(0), "group-size is 0; it must be a multiple of 8");
}

#[test]
fn the_scale_of_a_group_is_the_best_that_was_tried() {
    // One weight is far larger than the others: clipping it costs less than rounding the others coarsely.
    let mut data = vec![0.9f32; 31];
    data.push(-9.0);
    let tensor = HostTensor { shape: vec![1, 32], data };
    let (integers, scales) = matrix::grouped(&tensor, 32);
    let off = |scale: f32, integers: &[i8]| -> f32 {
        tensor.data.iter().zip(integers).map(|(v, q)| (v - scale * f32::from(*q)).powi(2)).sum()
    };
    let plain = 9.0 / 7.0;
    let largest: Vec<i8> = tensor.data.iter().map(|v| (v / plain).round_ties_even() as i8).collect();
    assert!(off(scales[0], &integers) < off(plain, &largest), "{scales:?} {integers:?}");
    // Rounding used the scale that is stored in 16 bits.
    assert_eq!(half::f16::from_f32(scales[0]).to_f32(), scales[0]);
    // Zeros stay zeros.
    let zeros = HostTensor { shape: vec![1, 8], data: vec![0.0; 8] };
    assert_eq!(matrix::grouped(&zeros, 8), (vec![0; 8], vec![1.0]));
}

#[test]
fn sixteen_bit_floats_are_half_the_size_and_closer() {
    let fixture = Fixture::open("roberta-tiny");
    for (scheme, most) in [(Scheme::Fp16, 1e-3), (Scheme::Bf16, 1e-2)] {
        let (dir, report) = quantized(&fixture, &request(scheme));
        assert!(report.bytes_after * 100 < report.bytes_before * 52 && report.layers.is_empty(), "{report:?}");
        let distance = distance(&logits(dir.path(), &fixture), &logits(&fixture.dir, &fixture));
        assert!(distance > 0.0 && distance < most, "{scheme}: {distance}");
    }
}

#[test]
fn what_cannot_be_quantized_is_refused() {
    let fixture = Fixture::open("roberta-tiny");
    let (one, _) = quantized(&fixture, &request(Scheme::Int8));
    let refused = |from: &Path, scheme| {
        let to = tempfile::tempdir().expect("a folder");
        format!("{:#}", quantize(from, to.path(), &request(scheme), &Silent).map(drop).expect_err("refused"))
    };
    assert_eq!(
        refused(one.path(), Scheme::Int8),
        format!("the model in {} is already quantized; quantize the model it was made from", one.path().display())
    );
    assert_eq!(
        refused(&fixture.dir, Scheme::Int8Static),
        "int8-static needs rows to calibrate the ranges of activations; set `in.tokens` of the stage"
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
    let fixture = Fixture::open("roberta-tiny");
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
    assert_eq!(refused(1e6, Scheme::Fp16), "tensor classifier.dense.weight contains ±1000000, more than fp16's 65504");
    assert_eq!(
        refused(f32::NAN, Scheme::Bf16),
        "tensor classifier.dense.weight contains NaN; only finite weights can be quantized"
    );
}

#[test]
fn a_quantized_model_is_an_ordinary_one_to_those_who_ask_for_floats() {
    let fixture = Fixture::open("roberta-tiny");
    let (one, two) = (quantized(&fixture, &request(Scheme::Int8)).0, tempfile::tempdir().expect("a folder"));
    let model = Model::load(one.path(), None, 0, &Device::flex()).expect("loads").model;
    model.save(two.path(), model.config().labels()).expect("saved");
    assert_eq!(Config::open(two.path()).expect("valid").quantization(), None);
    let again = Model::load(two.path(), None, 0, &Device::flex()).expect("loads").model;
    assert!(again.to_host().expect("host") == model.to_host().expect("host"));
    // The same for a model that was opened for scoring, whose weights are integers until they are read.
    let scoring = Model::load_to_score(one.path(), &Device::flex()).expect("loads");
    assert!(scoring.model.to_host().expect("host") == model.to_host().expect("host"));
    assert_eq!(scoring.non_zero, Model::load(one.path(), None, 0, &Device::flex()).expect("loads").non_zero);
}

#[test]
fn rows_use_the_whole_range_and_zero_rows_stay_zero() {
    let tensor = HostTensor { shape: vec![2, 3], data: vec![-2.0, 1.0, 0.0, 0.0, 0.0, 0.0] };
    // 1.0 / (2 / 127) = 63.5 is a tie, which goes to the even integer.
    assert_eq!(matrix::rounded(&tensor).0, [-127, 64, 0, 0, 0, 0]);
}

/// Logits of a folder with all its layers in integers regardless of the error, and inputs rounded by `rounding`.
fn naive(dir: &Path, fixture: &Fixture, rounding: impl Fn(&str) -> Rounding) -> Vec<f32> {
    let device = Device::flex();
    let mut model = Model::load(dir, None, 0, &device).expect("loads").model;
    let host = model.to_host().expect("host");
    let layer = |name: String| {
        let tensor = &host[&format!("{name}{WEIGHT}")];
        let (integers, scales) = matrix::rounded(tensor);
        let weight = Weight::pack(&integers, &scales, tensor.shape[1]).into();
        let rounding = rounding(&name);
        (name, Integers::Int8(Layer { weight, rounding }.into()))
    };
    let layers = linears(&model).into_iter().filter(|name| may_round(name)).map(layer).collect();
    model.set_integers(layers);
    let (ids, mask) = fixture.batch(&device);
    model.forward(ids, mask, &mut Pass::Off).into_data().try_into_vec().expect("f32")
}

#[test]
fn outliers_of_deberta_get_the_bits_without_which_it_collapses() {
    let fixture = Fixture::open("deberta-v2");
    let (dir, int8) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let model = Model::load(&fixture.dir, None, 0, &Device::flex()).expect("loads").model;
    let (labels, mut host) = (model.config().labels().to_vec(), model.to_host().expect("host"));
    with_outlier(&mut host, 5, 200.0);
    model.from_host(host).expect("filled").save(dir.path(), &labels).expect("saved");
    let exact = logits(&fixture.dir, &fixture);
    assert!(distance(&logits(dir.path(), &fixture), &exact) < 1e-3, "the same function");

    let calibration = || Some(Calibration::random(&Config::open(dir.path()).expect("a config")));
    let quantize = |scheme| {
        quantize(dir.path(), int8.path(), &Request { calibration: calibration(), ..Request::new(scheme) }, &Silent)
            .expect("quantized")
    };
    let ranges: BTreeMap<String, Range> =
        quantize(Scheme::Int8Static).layers.into_iter().map(|l| (l.name, l.range.expect("a range"))).collect();
    let report = quantize(Scheme::Int8);
    let ours = distance(&logits(int8.path(), &fixture), &exact);
    let by_token = distance(&naive(dir.path(), &fixture, |_| Rounding::Token8), &exact);
    let by_tensor = distance(&naive(dir.path(), &fixture, |name| Rounding::Fixed(ranges[name])), &exact);
    println!("logits differ by {by_tensor:.3} with a range a tensor, {by_token:.3} a token, {ours:.4} as chosen");
    assert!(by_tensor > 0.1 && by_token > 0.1 && ours < 0.03, "{by_tensor} {by_token} {ours}");
    let small = tempfile::tempdir().expect("a folder");
    let int4 = crate::compress::quantize::quantize(
        dir.path(),
        small.path(),
        &Request { group: 8, ..request(Scheme::Int4) },
        &Silent,
    );
    let int4 = int4.expect("quantized");
    let four = distance(&logits(small.path(), &fixture), &exact);
    println!("in 4 bits by {four:.4}, {} of {} layers in f16", int4.layers_as(Form::Float16).len(), int4.layers.len());
    assert!(
        four < 0.3 && !int4.layers_as(Form::Float16).is_empty() && !int4.layers_as(Form::Int4).is_empty(),
        "{four}"
    );
    // All layers that read the channel get more bits; the others stay in eight.
    let reads = |name: &String| name.ends_with("_proj") || name.ends_with("intermediate.dense");
    let int8 = report.layers_as(Form::Int8);
    assert!(!int8.is_empty() && !int8.iter().any(reads), "{:?}", report.layers);
}
