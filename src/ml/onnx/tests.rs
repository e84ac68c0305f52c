//! Tests that a Rust ONNX engine computes the same logits from the files as the models do.

use std::fs;
use std::path::Path;

use burn::tensor::{Bool, Device, Tensor, TensorData};

use super::convert::convert_within;
use super::graph::Graph;
use super::{Converted, MODEL, Precision, Session};
use crate::compress::quantize::{Form, MeasuredLayer, Request, Scheme, measure_batches, quantize};
use crate::compute::dropout::Pass;
use crate::model::fixture::{Fixture, with_outlier};
use crate::model::{Config, Model};
use crate::text::ids::Ids;
use crate::watch::Silent;

/// Measures layers on random tokens.
fn convert(from: &Path, to: &Path, precision: Precision) -> anyhow::Result<Converted> {
    super::convert(from, to, precision, None, &Silent)
}

/// Token ids and the mask of real tokens, `[rows, length]`.
struct Batch {
    ids: Vec<i32>,
    mask: Vec<i32>,
    /// Empty for single texts.
    types: Vec<i32>,
    shape: [usize; 2],
}

impl Batch {
    fn of(fixture: &Fixture) -> Self {
        let (ids, shape) = fixture.matrix("input_ids");
        let (mask, _) = fixture.matrix("attention_mask");
        let types = fixture.types().unwrap_or_default();
        let numbers = |values: Vec<f64>| values.into_iter().map(|v| v as i32).collect();
        Batch { ids: numbers(ids), mask: numbers(mask), types: numbers(types), shape }
    }

    /// Rows of decreasing lengths, padded to `length`.
    fn made(model: &Model, [rows, length]: [usize; 2]) -> Self {
        let (pad, vocabulary) = (model.config().pad_id() as i32, model.config().vocab_size() as i32);
        let mut batch = Batch { ids: Vec::new(), mask: Vec::new(), types: Vec::new(), shape: [rows, length] };
        for row in 0..rows {
            let real = length.saturating_sub(row * 3).max(1);
            for place in 0..length {
                let id = 4 + (row * 31 + place * 17) as i32 % (vocabulary - 4);
                batch.ids.push(if place < real && id != pad { id } else { pad });
                batch.mask.push(i32::from(place < real && id != pad));
            }
        }
        batch
    }

    fn by_model(&self, model: &Model) -> Vec<f32> {
        let device = Device::flex();
        let unsigned = |numbers: &[i32]| numbers.iter().map(|number| *number as u32).collect();
        let ids = Ids::on(&device, self.shape, unsigned(&self.ids), unsigned(&self.types));
        let mask: Vec<bool> = self.mask.iter().map(|real| *real > 0).collect();
        let mask: Tensor<2, Bool> = Tensor::from_data(TensorData::new(mask, self.shape), &device);
        model.forward(ids, mask, &mut Pass::Off).into_data().try_into_vec().expect("f32")
    }

    fn by_engine(&self, engine: &Session) -> Vec<f32> {
        let device = Device::flex();
        let unsigned = |numbers: &[i32]| numbers.iter().map(|number| *number as u32).collect();
        let ids = Ids::on(&device, self.shape, unsigned(&self.ids), unsigned(&self.types));
        let mask: Vec<bool> = self.mask.iter().map(|real| *real > 0).collect();
        engine.logits(ids, Tensor::from_data(TensorData::new(mask, self.shape), &device)).expect("runs")
    }
}

fn engine(dir: &Path) -> Session {
    Session::open(dir).expect("an ONNX file")
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| if a.is_finite() { (a - b).abs() } else { f32::INFINITY }).fold(0.0, f32::max)
}

/// Converts every fixture and compares its logits with the model's, on the fixture's batch and on other shapes.
fn compare(precision: Precision, tolerance: f32) {
    let mut seen = 0;
    for fixture in Fixture::classifiers() {
        let name = fixture.name();
        let dir = tempfile::tempdir().expect("a folder");
        convert(&fixture.dir, dir.path(), precision).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let engine = engine(dir.path());
        let model = Model::load(&fixture.dir, None, 0, &Device::flex()).expect("loads").model;
        let longest = model.config().max_length().min(60);
        let shapes = [[1, 1], [1, longest], [3, 7.min(longest)], [4, 12.min(longest)]];
        let batches = shapes.map(|shape| Batch::made(&model, shape));
        let mut worst = 0f32;
        for batch in [Batch::of(&fixture)].iter().chain(&batches) {
            let difference = largest_difference(&batch.by_engine(&engine), &batch.by_model(&model));
            assert!(difference < tolerance, "{name} {precision}: {difference} at {:?}", batch.shape);
            worst = worst.max(difference);
        }
        println!("{name}: {precision} differs by {worst:.1e}");
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn f32_files_compute_what_the_models_compute() {
    compare(Precision::F32, 1e-4);
}

/// The engine computes in f32 with the rounded weights; `scripts/check_onnx.py` runs ONNX Runtime.
#[test]
fn f16_files_differ_by_their_rounded_weights() {
    compare(Precision::F16, 2e-3);
}

#[test]
fn only_models_of_pairs_take_token_types() {
    for (name, takes) in [("bert-pairs", true), ("deberta-pairs", true), ("bert-longest", false)] {
        let dir = tempfile::tempdir().expect("a folder");
        convert(&Fixture::open(name).dir, dir.path(), Precision::F32).expect("converted");
        assert_eq!(engine(dir.path()).takes_types(), takes, "{name}");
    }
}

#[test]
fn int8_files_stay_close() {
    // Without VNNI, the engine (as ONNX Runtime) adds pairs of products in 16 bits, which saturate: the logits of these small
    // models are then up to 0.1 away, by the processor and not by the file.
    #[cfg(target_arch = "x86_64")]
    if !is_x86_feature_detected!("avx512vnni") && !is_x86_feature_detected!("avxvnni") {
        println!("skipped: the engine's int8 products saturate on this processor");
        return;
    }
    compare(Precision::Int8, 0.03);
}

/// DeBERTa with a channel that is far larger than the others, as downloaded ones have: eight bits over its range leave the
/// others nothing.
#[test]
fn layers_that_int8_would_harm_keep_floats() {
    let fixture = Fixture::open("deberta-v2");
    let (dir, out) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let model = Model::load(&fixture.dir, None, 0, &Device::flex()).expect("loads").model;
    let (labels, mut host) = (model.config().labels().to_vec(), model.to_host().expect("host"));
    with_outlier(&mut host, 5, 200.0);
    let model = model.from_host(host).expect("filled");
    model.save(dir.path(), &labels).expect("saved");
    let batch = Batch::of(&fixture);
    let exact = batch.by_model(&model);
    let difference = || largest_difference(&batch.by_engine(&engine(out.path())), &exact);

    let converted = convert(dir.path(), out.path(), Precision::Int8).expect("converted");
    let ours = difference();
    let kept: Vec<&MeasuredLayer> = converted.layers.iter().filter(|layer| layer.form != Form::Int8).collect();
    assert!(kept.len() > 5 && kept.len() < converted.layers.len(), "{:?}", converted.layers);
    assert!(kept.iter().any(|layer| layer.name.ends_with("query_proj")), "{kept:?}");
    let integers = |mut layer: MeasuredLayer| {
        layer.form = Form::Int8;
        layer
    };
    let all = converted.layers.iter().cloned().map(integers).collect();
    convert_within(dir.path(), out.path(), Precision::Int8, all, u64::from(u32::MAX)).expect("converted");
    let plain = difference();
    println!("logits differ by {plain:.3} in integers alone, {ours:.4} as chosen");
    assert!(plain > 0.1 && ours < 0.03, "{plain} {ours}");

    // Layers in floats altogether.
    let mut forms = converted.layers;
    forms.iter_mut().for_each(|layer| layer.form = Form::Float16);
    convert_within(dir.path(), out.path(), Precision::Int8, forms.clone(), u64::from(u32::MAX)).expect("converted");
    assert!(difference() < 0.01);
    // Without outliers, integers are everywhere.
    let model = Model::load(&Fixture::open("roberta-tiny").dir, None, 0, &Device::flex()).expect("loads").model;
    let calibration = crate::compress::quantize::Calibration::random(model.config());
    let layers = measure_batches(model, &calibration, &Silent).expect("measured");
    assert!(layers.iter().all(|layer| layer.form == Form::Int8), "{layers:?}");
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let fixture = Fixture::open("deberta-v2");
    for precision in [Precision::F32, Precision::F16, Precision::Int8] {
        let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
        let files = folders.each_ref().map(|folder| {
            convert(&fixture.dir, folder.path(), precision).expect("converted");
            fs::read(folder.path().join(MODEL)).expect("read")
        });
        assert!(files[0] == files[1], "{precision}");
    }
}

#[test]
fn what_is_too_large_for_one_file_keeps_its_weights_beside_it() {
    let fixture = Fixture::open("roberta-tiny");
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let whole = convert(&fixture.dir, one.path(), Precision::F32).expect("converted");
    assert_eq!(whole.files, [MODEL]);
    let apart =
        convert_within(&fixture.dir, two.path(), Precision::F32, Vec::new(), whole.bytes_after).expect("converted");
    assert_eq!(apart.files, [MODEL, "model.onnx_data"]);
    let small = fs::metadata(two.path().join(MODEL)).expect("a file").len();
    assert!(small * 4 < whole.bytes_after, "{small} of {whole:?}");
    let batch = Batch::of(&fixture);
    assert_eq!(batch.by_engine(&engine(one.path())), batch.by_engine(&engine(two.path())));
}

#[test]
fn every_parameter_is_in_the_graph() {
    for fixture in Fixture::classifiers() {
        let config = Config::open(&fixture.dir).expect("a config");
        let mut graph = Graph::new(Precision::F32);
        graph.classifier(&config);
        let mut stored: Vec<&str> = graph.tensors.iter().filter_map(|tensor| tensor.parameter()).collect();
        let parameters = Model::outline(&config);
        let mut named: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        stored.sort();
        named.sort();
        assert_eq!(stored, named, "{}", fixture.name());
    }
}

#[test]
fn a_deeper_head_and_every_activation_are_built() {
    let fixture = Fixture::open("bert-longest");
    for function in ["gelu", "gelu_new", "relu", "silu", "tanh"] {
        let dir = tempfile::tempdir().expect("a folder");
        let text = fs::read_to_string(fixture.dir.join("config.json")).expect("a config");
        let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        json["hidden_act"] = function.into();
        json["classifier_head"] = "mlp".into();
        let model = Model::init(&Config::parse(&json.to_string()).expect("valid"), 1, &Device::flex()).expect("built");
        model.save(dir.path(), model.config().labels()).expect("saved");
        let out = tempfile::tempdir().expect("a folder");
        convert(dir.path(), out.path(), Precision::F32).expect("converted");
        let batch = Batch::made(&model, [2, 9]);
        let difference = largest_difference(&batch.by_engine(&engine(out.path())), &batch.by_model(&model));
        assert!(difference < 1e-4, "{function}: {difference}");
    }
}

fn refused(dir: &Path, precision: Precision) -> String {
    let out = tempfile::tempdir().expect("a folder");
    let error = convert(dir, out.path(), precision).map(|_| ()).expect_err("refused");
    assert!(!out.path().join(MODEL).exists());
    format!("{error:#}")
}

#[test]
fn what_cannot_be_converted_says_why() {
    let fixture = Fixture::open("roberta-tiny");
    let dir = tempfile::tempdir().expect("a folder");
    let request = Request::new(Scheme::Int8);
    quantize(&fixture.dir, dir.path(), &request, &Silent).expect("quantized");
    let message = refused(dir.path(), Precision::Int8);
    assert!(message.contains("is quantized already; convert the model it was made from"), "{message}");

    let dir = tempfile::tempdir().expect("a folder");
    fs::copy(fixture.dir.join("config.json"), dir.path().join("config.json")).expect("copied");
    let message = refused(dir.path(), Precision::F32);
    assert!(message.ends_with("has no weights to convert; train the model first"), "{message}");

    let model = Model::load(&fixture.dir, None, 0, &Device::flex()).expect("loads").model;
    let mut host = model.to_host().expect("host");
    host.get_mut("classifier.dense.weight").expect("a weight").data[3] = 1e5;
    let large = model.from_host(host).expect("filled");
    large.save(dir.path(), large.config().labels()).expect("saved");
    let message = refused(dir.path(), Precision::F16);
    assert!(
        message.ends_with(
            "tensor classifier.dense.weight: a weight is ±100000, larger than the f16 maximum 65504; convert with precision = \
             \"f32\""
        ),
        "{message}"
    );
}
