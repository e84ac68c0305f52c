//! Tests that adapters compute and store what PEFT computes and writes.

use super::*;
use crate::compress::lora::{load_adapter, merge, save_adapter};
use crate::compute::dropout::Pass;
use crate::files::weights;
use crate::model::Initialised;
use crate::model::fixture;
use crate::model::fixture::{Fixture, cross_entropy};
use crate::train::optimizer::{AdamW, AdamWSettings};
use burn::tensor::Device;
use std::path::Path;

fn config(targets: &[&str]) -> LoraConfig {
    LoraConfig {
        rank: 4,
        alpha: 8.0,
        dropout: 0.0,
        targets: Targets::of(&targets.iter().map(|t| t.to_string()).collect::<Vec<_>>()),
        rslora: false,
        modules_to_save: Vec::new(),
    }
}

fn base(fixture: &Fixture, device: &Device) -> Model {
    Model::load(&fixture.dir.join("base"), None, 0, device).expect("loads").model
}

/// The adapter fixtures, loaded on `device`.
fn adapted(device: &Device) -> impl Iterator<Item = (Fixture, Model, LoraConfig)> {
    Fixture::adapters().into_iter().map(|fixture| {
        let (model, config) = load_adapter(base(&fixture, device), &fixture.dir.join("adapter")).expect("loads");
        (fixture, model, config)
    })
}

#[test]
fn adapters_compute_what_peft_computes() {
    let device = fixture::device().autodiff();
    for (fixture, model, _) in adapted(&device) {
        let name = fixture.name();
        let trainable = fixture.expected["trainable_parameters"].as_u64().expect("a count");
        assert_eq!(model.count_trainable() as u64, trainable, "{name}");
        let (ids, mask) = fixture.batch(&device);
        let logits = model.forward(ids.clone(), mask.clone(), &mut Pass::Off);
        let difference = fixture.difference("logits", logits.clone());
        let merged = model.clone().merge_lora().forward(ids, mask, &mut Pass::Off);
        let after = fixture.difference("merged_logits", merged);
        println!("{name}: logits differ by {difference:.1e}, merged by {after:.1e}");
        assert!(difference < 1e-4 && after < 1e-4, "{name}: {difference} {after}");

        let Some(expected) = fixture.expected["grad_norms"].as_object() else { continue };
        let loss = cross_entropy(logits, &fixture.labels(), &device);
        let norms = model.gradient_norms(&loss.backward()).expect("norms");
        let mut names: Vec<&String> = expected.keys().collect();
        names.sort();
        assert_eq!(norms.keys().collect::<Vec<_>>(), names, "{name}");
        for (parameter, norm) in &norms {
            let expected = expected[parameter].as_f64().expect("a norm");
            assert!((norm - expected).abs() / expected.max(1e-4) < 1e-3, "{name}: {parameter}: {norm} {expected}");
        }
    }
}

#[test]
fn merging_and_unmerging_gives_the_base_back() {
    let device = Device::flex();
    for (fixture, model, _) in adapted(&device) {
        let adapter = fixture.dir.join("adapter");
        let merged = model.merge_lora();
        let unmerged = load_adapter(merged, &adapter).expect("loads").0.unmerge_lora().to_host().expect("host");
        let base = base(&fixture, &device).to_host().expect("host");
        let trained = |name: &str| name.starts_with("classifier") || name.starts_with("pooler");
        for (name, tensor) in base.iter().filter(|(name, _)| !trained(name)) {
            let worst = tensor.data.iter().zip(&unmerged[name].data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{}: {name} differs by {worst}", fixture.name());
        }
    }
}

#[test]
fn saved_adapters_have_pefts_names_and_load_equal() {
    let device = Device::flex();
    for (fixture, model, config) in adapted(&device) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        save_adapter(&model, &config, "the/base", dir.path()).expect("saved");
        let read = |dir: &Path| weights::read(&[dir.join("adapter_model.safetensors")]).expect("read");
        assert!(read(dir.path()) == read(&fixture.dir.join("adapter")), "{}", fixture.name());
        let (again, config_again) = load_adapter(base(&fixture, &device), dir.path()).expect("loads");
        assert_eq!(config_again, config);
        assert!(again.to_host().expect("host") == model.to_host().expect("host"));
    }
}

#[test]
fn targets_may_be_a_pattern_or_all() {
    let fixture = Fixture::open("lora-deberta-positions");
    let adapted = |targets: Targets| {
        let model = base(&fixture, &Device::flex()).add_lora(&LoraConfig { targets, ..config(&[]) }, 0)?;
        anyhow::Ok(model.parameters().into_iter().filter(|p| p.name.ends_with(".lora_A.weight")).count())
    };
    let pattern = |text: &str| adapted(Targets::pattern(text).expect("a pattern"));
    // Six linear modules in each of two layers, and the pooler's.
    assert_eq!(adapted(Targets::of(&["all-linear".into()])).expect("added"), 13);
    assert_eq!(pattern(r".*\.layer\.1\..*_proj").expect("added"), 3);
    assert_eq!(adapted(Targets::usual(base(&fixture, &Device::flex()).config())).expect("added"), 4);
    let error = pattern("query_proj").expect_err("a pattern matches the whole name").to_string();
    assert!(error.starts_with("lora: the target pattern \"query_proj\" matches no linear module"), "{error}");
}

#[test]
fn a_new_adapter_changes_nothing_and_only_it_and_the_head_get_gradients() {
    let fixture = Fixture::open("lora-roberta");
    let device = Device::flex().autodiff();
    let model = base(&fixture, &device);
    let (ids, mask) = fixture.batch(&device);
    let before = model.forward(ids.clone(), mask.clone(), &mut Pass::Off).into_data();
    let model = model.add_lora(&config(&["query", "output.dense"]), 3).expect("added");
    let logits = model.forward(ids, mask, &mut Pass::Off);
    assert_eq!(logits.to_data(), before);
    let norms = model.gradient_norms(&logits.powi_scalar(2).sum().backward()).expect("norms");
    assert!(norms.keys().all(|name| name.contains(".lora_") || name.starts_with("classifier.")), "{norms:?}");
    // Per layer query, attention output and output, two factors each, and four of the head.
    assert_eq!(norms.len(), 3 * 3 * 2 + 4);
    assert!(norms.iter().all(|(name, norm)| !name.contains("lora_B") || *norm > 0.0));
    // Memory that grows with the frozen weights is not kept either: the optimizer has two moments per trained value.
    let optimizer = AdamW::new(AdamWSettings::default(), &model, &device);
    assert_eq!(optimizer.state_len(), 2 * model.count_trainable());
}

/// Besides the model, training keeps a gradient and two moments for each trained value, and for no other.
#[test]
fn at_the_size_of_roberta_base_a_twentieth_of_the_numbers_is_trained_at_most() {
    let base = r#"{"model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1,
        "pad_token_id": 1, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
        "num_labels": 5}"#;
    let model = Model::empty(&crate::model::Config::parse(base).expect("a config"), &Device::flex());
    let all = model.count();
    let adapted = model.add_lora(&LoraConfig { rank: 16, ..config(&["all-linear"]) }, 0).expect("added");
    // The model has no values here, so the trained parameters are identified by name: the adapters and the head.
    let is_trained = |name: &str| name.contains(".lora_") || name.starts_with("classifier.");
    let trained: usize = adapted.parameters().iter().filter(|p| is_trained(&p.name)).map(|p| p.size()).sum();
    assert_eq!((all, trained), (124_649_477, 3_248_645));
    assert!(20 * trained <= all);
}

#[test]
fn modules_to_save_are_trained_in_full_and_stored_with_the_adapter() {
    let fixture = Fixture::open("lora-roberta");
    let device = Device::flex();
    let config = LoraConfig { modules_to_save: vec!["word_embeddings".into()], ..config(&["query"]) };
    let model = base(&fixture, &device).add_lora(&config, 3).expect("added");
    let full: Vec<String> = model.parameters().into_iter().filter(|p| p.trainable).map(|p| p.name).collect();
    assert!(full.contains(&"roberta.embeddings.word_embeddings.weight".to_owned()), "{full:?}");
    let dir = tempfile::tempdir().expect("a temporary folder");
    save_adapter(&model, &config, "the/base", dir.path()).expect("saved");
    let (again, read) = load_adapter(base(&fixture, &device), dir.path()).expect("loads");
    assert_eq!(read, config);
    assert!(again.to_host().expect("host") == model.to_host().expect("host"));
    let wrong = LoraConfig { modules_to_save: vec!["embedings".into()], ..config };
    let error = base(&fixture, &device).add_lora(&wrong, 3).expect_err("no such module");
    assert_eq!(error.to_string(), "lora: modules-to-save names `embedings`, but the model has no such module");
}

#[test]
fn a_fresh_pooler_is_trained_and_stored_with_the_adapter() {
    for (name, stored) in [("bert-longest", "bert.pooler"), ("deberta-one-token", "pooler")] {
        let fixture = Fixture::open(name);
        let device = Device::flex();
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::copy(fixture.dir.join("config.json"), dir.path().join("config.json")).expect("copied");
        let mut tensors = weights::read(&[fixture.dir.join("model.safetensors")]).expect("read");
        tensors.retain(|name, _| !name.contains("pooler") && !name.contains("classifier"));
        weights::write_f32(&dir.path().join("model.safetensors"), &tensors).expect("written");
        let loaded = Model::load(dir.path(), None, 3, &device).expect("loads");
        let Initialised::Part(fresh) = &loaded.initialised else { panic!("a fresh head") };
        let mut config = LoraConfig { targets: Targets::usual(loaded.model.config()), ..config(&[]) };
        assert_eq!(config.save_fresh(fresh), ["pooler"]);
        let model = loaded.model.add_lora(&config, 3).expect("added");
        let adapter = tempfile::tempdir().expect("a folder");
        save_adapter(&model, &config, "the/base", adapter.path()).expect("saved");
        let names = weights::read(&[adapter.path().join("adapter_model.safetensors")]).expect("read");
        assert!(names.contains_key(&format!("base_model.model.{stored}.dense.weight")), "{:?}", names.keys());
        // The folders hold everything that was trained: the base with another seed gives the same model.
        let merged = merge(dir.path(), adapter.path(), None).expect("merged").model;
        assert!(merged.to_host().expect("host") == model.merge_lora().to_host().expect("host"), "{name}");
    }
}

#[test]
fn dropout_of_an_adapter_acts_in_training_alone() {
    let fixture = Fixture::open("lora-roberta");
    let device = Device::flex();
    let (mut model, _) = load_adapter(base(&fixture, &device), &fixture.dir.join("adapter")).expect("loads");
    model.map_linears(&mut |_, linear| linear.lora.iter_mut().for_each(|lora| lora.dropout = 0.5));
    let (ids, mask) = fixture.batch(&device);
    let still = model.forward(ids.clone(), mask.clone(), &mut Pass::Off);
    assert!(fixture.difference("logits", still) < 1e-4);
    let noisy = model.forward(ids, mask, &mut Pass::step(1, 1));
    assert!(fixture.difference("logits", noisy) > 1e-3);
}

#[test]
fn a_target_that_matches_nothing_lists_the_modules() {
    let fixture = Fixture::open("lora-roberta");
    let model = base(&fixture, &Device::flex());
    let error = model.add_lora(&config(&["query", "query_proj", "ery"]), 0).map(|_| ()).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "lora: target `query_proj`, `ery` matches no linear module outside the head; there are \
         roberta.encoder.layer.N.attention.self.query, roberta.encoder.layer.N.attention.self.key, \
         roberta.encoder.layer.N.attention.self.value, roberta.encoder.layer.N.attention.output.dense, \
         roberta.encoder.layer.N.intermediate.dense, roberta.encoder.layer.N.output.dense"
    );
}

#[test]
fn a_model_with_an_adapter_is_not_saved_as_a_model() {
    let fixture = Fixture::open("lora-roberta");
    let model = base(&fixture, &Device::flex()).add_lora(&config(&["query"]), 0).expect("added");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let error = model.save(dir.path(), model.config().labels()).expect_err("refused").to_string();
    assert!(error.contains("merge it before saving"), "{error}");
}
