//! Tests on all fixtures that every family gives the same results as transformers.
//!
//! `PIPE_TEST_DEVICE=wgpu` runs them on a GPU; `PIPE_PARITY=FOLDER` adds cases (`scripts/parity/make_cases.py`).

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::fixture::{Fixture, cross_entropy, device};
use super::{Config, Initialised, Model};
use crate::compute::dropout::Pass;
use crate::text::ids::Ids;
use crate::train::optimizer::{Accumulated, AdamW, AdamWSettings};

fn load(fixture: &Fixture, device: &Device) -> Model {
    Model::load(&fixture.dir, None, 0, device).expect("loads").model
}

#[test]
fn logits_equal_those_of_transformers() {
    let device = device();
    for fixture in Fixture::classifiers() {
        let loaded = Model::load(&fixture.dir, None, 0, &device).expect("loads");
        assert_eq!(loaded.initialised, Initialised::Nothing, "{}", fixture.name());
        // RoBERTa's fixtures have no pooler, because a classifier does not use it.
        assert!(loaded.notes.is_empty() && loaded.warnings.is_empty(), "{}: {loaded:?}", fixture.name());
        let (ids, mask) = fixture.batch(&device);
        let difference = fixture.difference("logits", loaded.model.forward(ids, mask, &mut Pass::Off));
        println!("{}: largest logit difference {difference:.1e}", fixture.name());
        assert!(difference < 1e-4, "{}: {difference}", fixture.name());
    }
}

#[test]
fn gradients_equal_those_of_transformers() {
    let device = device().autodiff();
    for fixture in Fixture::classifiers() {
        let name = fixture.name();
        let model = load(&fixture, &device);
        let (ids, mask) = fixture.batch(&device);
        // All dropout probabilities of the fixtures are 0, so the training path is deterministic.
        let logits = model.forward(ids, mask, &mut Pass::step(1, 1));
        assert!(fixture.difference("logits", logits.clone()) < 1e-4, "{name}");
        let loss = cross_entropy(logits, &fixture.labels(), &device);
        let value: f64 = loss.clone().into_scalar::<f32>().into();
        let expected = fixture.expected["loss"].as_f64().expect("a loss");
        assert!((value - expected).abs() < 1e-5, "{name}: loss {value}, expected {expected}");

        let norms = model.gradient_norms(&loss.backward()).expect("norms");
        let expected = fixture.expected["grad_norms"].as_object().expect("norms");
        assert_eq!(norms.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}");
        let mut worst = 0f64;
        for (parameter, expected) in expected {
            let expected = expected.as_f64().expect("a norm");
            // A key's bias shifts all scores of a row equally, so its gradient is only rounding noise.
            let error = (norms[parameter] - expected).abs() / expected.max(1e-4);
            worst = worst.max(error);
            assert!(error < 1e-3, "{name}: {parameter}: {} instead of {expected}", norms[parameter]);
        }
        println!("{name}: largest relative difference of gradient norms {worst:.1e}");
    }
}

#[test]
fn five_steps_of_adamw_equal_torchs() {
    let device = device().autodiff();
    for fixture in Fixture::classifiers() {
        let mut model = load(&fixture, &device);
        let settings = AdamWSettings { weight_decay: 0.01, ..AdamWSettings::default() };
        let mut optimizer = AdamW::new(settings, &model, &device);
        let (ids, mask) = fixture.batch(&device);
        let mut worst = 0f64;
        for expected in fixture.expected["train"]["losses"].as_array().expect("losses") {
            let logits = model.forward(ids.clone(), mask.clone(), &mut Pass::step(1, 1));
            let loss = cross_entropy(logits, &fixture.labels(), &device);
            let value: f64 = loss.clone().into_scalar::<f32>().into();
            worst = worst.max((value - expected.as_f64().expect("a loss")).abs());
            let mut gradients = Accumulated::default();
            gradients.add(&model, loss.backward(), &optimizer).expect("gradients");
            model = optimizer.step(model, gradients, 1e-3, Some(1.0)).expect("a step").0;
        }
        let logits = model.forward(ids, mask, &mut Pass::Off);
        let difference = fixture.difference_to(&fixture.expected["train"]["logits"], logits);
        println!("{}: losses differ by {worst:.1e}, then logits by {difference:.1e}", fixture.name());
        assert!(worst < 1e-3 && difference < 1e-3, "{}: {worst} {difference}", fixture.name());
    }
}

#[test]
fn the_validation_copy_computes_the_same() {
    let fixture = Fixture::open("roberta-tiny");
    let device = Device::flex().autodiff();
    let model = Model::load(&fixture.dir, None, 0, &device).expect("loads").model;
    let (ids, mask) = fixture.batch(&Device::flex());
    let logits = model.valid().forward(ids, mask, &mut Pass::Off);
    assert!(fixture.difference("logits", logits) < 1e-4);
}

#[test]
fn padding_changes_nothing() {
    let device = device();
    for name in ["roberta-tiny", "bert-empty-row", "deberta-conv"] {
        let fixture = Fixture::open(name);
        let model = load(&fixture, &device);
        let (Ids { tokens: ids, .. }, mask) = fixture.batch(&device);
        // Skip the last row: it may be all padding, and then attends to all of it.
        let (rows, width) = (ids.dims()[0] - 1, ids.dims()[1]);
        let (ids, mask) = (ids.narrow(0, 0, rows), mask.narrow(0, 0, rows));
        let before = model.forward(ids.clone(), mask.clone(), &mut Pass::Off);
        let pad: Tensor<2, Int> = Tensor::ones([rows, 9], &device) * i64::from(model.config().pad_id());
        let wider = Tensor::cat(vec![ids, pad], 1);
        let wider_mask = Tensor::cat(vec![mask, Tensor::<2>::zeros([rows, 9], &device).bool()], 1);
        assert_eq!(wider.dims(), [rows, width + 9]);
        let after = model.forward(wider, wider_mask, &mut Pass::Off);
        let difference: f32 = (after - before).abs().max().into_scalar();
        assert!(difference < 1e-4, "{name}: {difference}");
    }
}

#[test]
fn frozen_parameters_get_no_gradient() {
    let fixture = Fixture::open("roberta-tiny");
    let device = Device::flex().autodiff();
    let model = Model::load(&fixture.dir, None, 0, &device).expect("loads").model;
    let model = model.set_trainable(|name| name.starts_with("classifier.") || name.contains("layer.2"));
    assert_eq!(model.count_trainable(), 2597 + 18960);
    let (ids, mask) = fixture.batch(&device);
    let logits = model.forward(ids, mask, &mut Pass::Off);
    let norms = model.gradient_norms(&logits.sum().backward()).expect("norms");
    assert!(norms.keys().all(|name| name.starts_with("classifier.") || name.contains("layer.2")));
    assert_eq!(norms.len(), 20);
}

#[test]
fn dropout_repeats_for_a_step_and_differs_between_steps() {
    let fixture = Fixture::open("roberta-tiny");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = std::fs::read_to_string(fixture.dir.join("config.json")).expect("a config");
    let config = config.replace("_dropout_prob\": 0.0", "_dropout_prob\": 0.1");
    std::fs::write(dir.path().join("config.json"), config).expect("written");
    let device = Device::flex().autodiff();
    let model = Model::load(dir.path(), None, 3, &device).expect("loads").model;
    let logits = |pass: &mut Pass| {
        let (ids, mask) = fixture.batch(&device);
        let data = model.forward(ids, mask, pass).into_data();
        data.try_to_vec::<f32>().expect("f32")
    };
    let first = logits(&mut Pass::step(1, 1));
    assert_eq!(first, logits(&mut Pass::step(1, 1)));
    assert_ne!(first, logits(&mut Pass::step(1, 2)));
    assert_ne!(first, logits(&mut Pass::Off));
}

/// Models of common sizes with random weights run, and saving a loaded model gives the same file.
#[test]
fn models_of_full_size_round_trip_and_run() {
    let base = r#""hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072"#;
    let roberta =
        r#""model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1"#;
    let deberta = r#""model_type": "deberta-v2", "vocab_size": 128100, "max_position_embeddings": 512, "type_vocab_size": 0,
        "relative_attention": true, "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": true,
        "pos_att_type": ["p2c", "c2p"], "position_biased_input": false"#;
    for (own, parameters) in [(roberta, 124_647_170), (deberta, 184_423_682)] {
        let config = Config::parse(&format!("{{{own}, {base}}}")).expect("valid");
        let device = Device::flex();
        let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
        let model = Model::init(&config, 1, &device).expect("built");
        assert_eq!(model.count(), parameters);
        model.save(folders[0].path(), config.labels()).expect("saved");
        drop(model);
        let loaded = Model::load(folders[0].path(), None, 2, &device).expect("loads");
        assert_eq!(loaded.initialised, Initialised::Nothing);
        loaded.model.save(folders[1].path(), config.labels()).expect("saved");
        let digests = folders.each_ref().map(|folder| {
            let mut hasher = blake3::Hasher::new();
            hasher
                .update_reader(std::fs::File::open(folder.path().join("model.safetensors")).expect("a file"))
                .expect("read");
            hasher.finalize()
        });
        assert_eq!(digests[0], digests[1]);
        let ids: Vec<i64> = (0..2 * 40).map(|i| 5 + i * 613 % 50_000).collect();
        let ids: Tensor<2, Int> = Tensor::from_data(TensorData::new(ids, [2, 40]), &device);
        let mask = ids.clone().greater_elem(0);
        let logits = loaded.model.forward(ids, mask, &mut Pass::Off).into_data().try_into_vec::<f32>().expect("f32");
        assert!(logits.len() == 4 && logits.iter().all(|v| v.is_finite()), "{logits:?}");
    }
}
