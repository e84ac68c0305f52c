//! Fuzzes model folders: safetensors, shard indexes, config.json, adapters and tokenizers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pipe_ml::compress::lora::load_adapter;
use pipe_ml::files::weights;
use pipe_ml::model::{Config, HostTensor, HostTensors, Model};
use pipe_ml::text::tokenizer::Tokenizer;
use proptest::prelude::*;

use super::changes::{Change, bounded, changed, changes, config};

const CONFIG: &str = r#"{"model_type": "roberta", "vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 20, "type_vocab_size": 1,
    "hidden_act": "gelu", "layer_norm_eps": 1e-5, "classifier_dropout": null, "id2label": {"0": "no", "1": "yes"}}"#;

/// Weights that match [`CONFIG`].
fn model() -> Model {
    let device = pipe_ml::compute::device::open(&"cpu".parse().unwrap()).unwrap().device;
    Model::init(&Config::parse(CONFIG).unwrap(), 5, &device).unwrap()
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    model().save(dir.path(), &["no".into(), "yes".into()]).unwrap();
    dir
}

thread_local! {
    static GOOD: (Vec<u8>, Vec<u8>) = {
        let dir = folder();
        (fs::read(dir.path().join("model.safetensors")).unwrap(), fs::read(dir.path().join("config.json")).unwrap())
    };
}

/// Load a folder with these two files on the CPU.
fn load(weights: &[u8], config: &[u8]) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("model.safetensors"), weights).unwrap();
    fs::write(dir.path().join("config.json"), config).unwrap();
    let device = pipe_ml::compute::device::open(&"cpu".parse().unwrap()).unwrap().device;
    let loaded = bounded(weights.len() + config.len(), || Model::load(dir.path(), None, 0, &device));
    loaded.map(drop).map_err(|e| format!("{e:#}"))
}

/// A safetensors file with this header.
fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn read(bytes: &[u8]) -> anyhow::Result<HostTensors> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    bounded(bytes.len(), || weights::read(std::slice::from_ref(&path)))
}

/// Change the beginning of a file, which contains its header.
fn in_header(good: &[u8], changes: &[Change]) -> Vec<u8> {
    let (head, rest) = good.split_at(good.len().min(3000));
    [changed(head, changes), rest.to_vec()].concat()
}

proptest! {
    #![proptest_config(config(120))]

    #[test]
    fn a_model_folder_changed(changes in changes(), in_config in any::<bool>(), small in any::<bool>()) {
        let (weights, config) = GOOD.with(Clone::clone);
        let _ = match (in_config, small) {
            (true, _) => load(&weights, &changed(&config, &changes)),
            (false, true) => load(&in_header(&weights, &changes), &config),
            (false, false) => load(&changed(&weights, &changes), &config),
        };
    }

    #[test]
    fn any_header(dtype in prop::sample::select(vec!["F32", "F16", "BF16", "F64", "I8", "I64", "BOOL", "F8_E5M2", "F4", "X"]), shape in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..5], 0..4), from in prop_oneof![any::<u64>(), 0u64..40], to in prop_oneof![any::<u64>(), 0u64..80], scale in any::<bool>()) {
        let tensor = format!("{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{from},{to}]}}");
        let scales = if scale { ",\"a_scale\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,32]}" } else { "" };
        if let Ok(tensors) = read(&safetensors(&format!("{{\"a\":{tensor}{scales}}}"), &[1; 32])) {
            let HostTensor { shape, data } = &tensors["a"];
            prop_assert_eq!(shape.iter().product::<usize>(), data.len());
        }
    }

    #[test]
    fn any_size_in_a_config(field in prop::sample::select(vec!["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings", "type_vocab_size", "pad_token_id", "num_labels"]), value in prop_oneof![any::<u64>().prop_map(|v| v.to_string()), "-?[0-9]{1,22}(\\.5|e9)?", Just("null".into()), Just("[[]]".into())]) {
        let mut fields: serde_json::Value = serde_json::from_str(CONFIG).unwrap();
        fields.as_object_mut().unwrap().remove("id2label");
        fields[field] = serde_json::from_str(&value).unwrap_or(serde_json::Value::Null);
        let text = fields.to_string();
        let _ = bounded(text.len(), || Config::parse(&text).map(drop));
    }

    #[test]
    fn any_index(names in prop::collection::vec("[a-z./\\\\:]{0,6}|\\.\\./x|/etc/passwd|model-1\\.safetensors", 1..4), changes in changes(), change in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let map: serde_json::Map<_, _> = names.iter().enumerate().map(|(i, n)| (format!("t{i}"), n.as_str().into())).collect();
        let text = serde_json::json!({ "weight_map": map }).to_string().into_bytes();
        let text = if change { changed(&text, &changes) } else { text };
        fs::write(dir.path().join(weights::INDEX), &text).unwrap();
        fs::write(dir.path().join("model-1.safetensors"), "").unwrap();
        if let Ok(files) = bounded(text.len(), || weights::files(dir.path())) {
            prop_assert!(files.iter().all(|f| f.parent() == Some(dir.path())), "{:?}", files);
        }
    }

    #[test]
    fn a_sharded_model_changed(changes in changes(), in_index in any::<bool>(), small in any::<bool>()) {
        const SHARD: &str = "model-00001-of-00001.safetensors";
        let (shard, config) = GOOD.with(Clone::clone);
        let names = read(&shard).unwrap().into_keys().map(|name| (name, SHARD.into()));
        let index = serde_json::json!({ "weight_map": names.collect::<serde_json::Map<_, _>>() }).to_string().into_bytes();
        let (shard, index) = match (in_index, small) {
            (true, _) => (shard, changed(&index, &changes)),
            (false, true) => (in_header(&shard, &changes), index),
            (false, false) => (changed(&shard, &changes), index),
        };
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [(SHARD, &shard), (weights::INDEX, &index), ("config.json", &config)] {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        let device = pipe_ml::compute::device::open(&"cpu".parse().unwrap()).unwrap().device;
        // If a model loads, its index names exactly the tensors of its shards.
        if bounded(shard.len() + index.len(), || Model::load(dir.path(), None, 0, &device)).is_ok() {
            let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
            let named: Vec<&String> = index["weight_map"].as_object().unwrap().keys().collect();
            let shard = weights::Weights::of(&[dir.path().join(SHARD)]).unwrap();
            prop_assert_eq!(BTreeSet::from_iter(shard.tensors.keys()), BTreeSet::from_iter(named));
        }
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn an_adapter_folder_changed(changes in changes(), in_config in any::<bool>()) {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity/lora-roberta/adapter");
        let dir = tempfile::tempdir().unwrap();
        let mut size = 0;
        for (name, chosen) in [("adapter_config.json", in_config), ("adapter_model.safetensors", !in_config)] {
            let good = fs::read(fixture.join(name)).unwrap();
            let bytes = if chosen { in_header(&good, &changes) } else { good };
            size += bytes.len();
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        let model = model();
        let _ = bounded(size, || load_adapter(model, dir.path()).map(drop));
    }

    #[test]
    fn a_tokenizer_folder_changed(name in prop::sample::select(vec!["tokenizer.json", "vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"]), changes in changes(), text in "[ a-zé'0-9語\u{1F600}</s>]{0,30}", head in any::<bool>()) {
        let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-roberta");
        let dir = tempfile::tempdir().unwrap();
        let mut size = 0;
        for other in ["tokenizer.json", "vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"] {
            let mut bytes = fs::read(bundled.join(other)).unwrap();
            if other == "tokenizer.json" && name != other && name != "tokenizer_config.json" {
                continue; // The older layout is only read if this file is missing.
            }
            if other == name {
                bytes = if head { in_header(&bytes, &changes) } else { changed(&bytes, &changes) };
            }
            size += bytes.len();
            fs::write(dir.path().join(other), bytes).unwrap();
        }
        bounded(size, || {
            if let Ok(tokenizer) = Tokenizer::open(dir.path()) {
                let _ = tokenizer.encode(&text, 16).map(|e| assert!(e.ids.len() <= 16));
            }
        });
    }
}

#[test]
fn hostile_headers() {
    let tensor = |shape: &str, from: u64, to: u64| {
        format!("{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}")
    };
    let huge = u64::MAX;
    for (name, bytes) in [
        ("a header longer than the file", [&(1u64 << 60).to_le_bytes(), b"{}".as_slice()].concat()),
        ("a header of all there is", [&huge.to_le_bytes(), b"{}".as_slice()].concat()),
        ("no bytes", Vec::new()),
        ("offsets beyond the file", safetensors(&format!("{{\"a\":{}}}", tensor("[4]", 0, 16)), &[0; 8])),
        ("offsets the wrong way round", safetensors(&format!("{{\"a\":{}}}", tensor("[4]", 16, 0)), &[0; 16])),
        (
            "offsets at the end of numbers",
            safetensors(&format!("{{\"a\":{}}}", tensor("[4]", huge - 16, huge)), &[0; 16]),
        ),
        (
            "a product beyond numbers",
            safetensors(&format!("{{\"a\":{}}}", tensor("[4294967296,4294967296,4]", 0, 16)), &[0; 16]),
        ),
        ("another size than its type has", safetensors(&format!("{{\"a\":{}}}", tensor("[8]", 0, 16)), &[0; 16])),
        (
            "overlapping tensors",
            safetensors(&format!("{{\"a\":{},\"b\":{}}}", tensor("[4]", 0, 16), tensor("[3]", 4, 16)), &[0; 16]),
        ),
        (
            "one name for two tensors",
            safetensors(&format!("{{\"a\":{},\"a\":{}}}", tensor("[4]", 0, 16), tensor("[4]", 16, 32)), &[0; 32]),
        ),
        ("a header as deep as it is long", safetensors(&format!("{{\"a\":{}", "[".repeat(1 << 20)), &[])),
    ] {
        let message = format!("{:#}", read(&bytes).map(drop).expect_err(name));
        assert!(message.contains("model.safetensors") && message.len() < 1000, "{name}: {message}");
    }
}

#[test]
fn sizes_that_no_machine_has_are_refused_before_anything_is_made() {
    for (field, value, says) in [
        ("vocab_size", "1152921504606846976", "field `vocab_size` is 1152921504606846976"),
        ("num_hidden_layers", "1000000", "field `num_hidden_layers` is 1000000; more than 384"),
        ("pad_token_id", "18446744073709551615", "field `pad_token_id` is 18446744073709551615"),
        ("hidden_size", "16777216", "the fields describe a model of "),
        ("num_labels", "100000", "field `num_labels` is 100000; more than 65536"),
    ] {
        let mut fields: serde_json::Value = serde_json::from_str(CONFIG).unwrap();
        fields.as_object_mut().unwrap().remove("id2label");
        fields[field] = serde_json::from_str(value).unwrap();
        let message = load(b"", fields.to_string().as_bytes()).unwrap_err();
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn an_index_does_not_lead_out_of_its_folder() {
    for name in ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", "x/."] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(weights::INDEX), serde_json::json!({ "weight_map": { "t": name } }).to_string())
            .unwrap();
        let message = weights::files(dir.path()).unwrap_err().to_string();
        assert!(message.ends_with("which is not a plain file name"), "{name}: {message}");
    }
}
