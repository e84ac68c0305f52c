//! Every model family through every kind of stage: from its tokenizer files to a prediction.

use std::fs;
use std::path::Path;

use crate::project::{PIPELINE, Project};

pub const DEBERTA: &str = r#"{"model_type": "deberta-v2", "vocab_size": 640, "hidden_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 40, "relative_attention": true,
    "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": true, "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": false, "type_vocab_size": 0}"#;
pub const BERT: &str = r#"{"model_type": "bert", "vocab_size": 412, "hidden_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 40}"#;
pub const DISTILBERT: &str = r#"{"model_type": "distilbert", "vocab_size": 412, "dim": 24, "n_layers": 2, "n_heads": 2,
    "hidden_dim": 48, "max_position_embeddings": 40}"#;

/// Create a base model of two layers with the tokenizer files of its family, in the project's folder `tiny`.
pub fn base(project: &Project, config: &str, tokenizer: &str) {
    fs::remove_dir_all(project.path("tiny")).unwrap();
    base_in("tiny", project, config, tokenizer);
}

/// The same in a new folder.
pub fn base_in(folder: &str, project: &Project, config: &str, tokenizer: &str) {
    let folder = project.path(folder);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), config).unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers").join(tokenizer);
    for file in fs::read_dir(from).unwrap().map(|file| file.unwrap().path()).filter(|p| !p.ends_with("golden.jsonl")) {
        fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
}

/// Run every kind on the base, check that a second run does nothing, and predict with the results.
fn every_kind(config: &str, tokenizer: &str) -> Project {
    let project = Project::new();
    base(&project, config, tokenizer);
    let ran = project.run(&[]);
    assert_eq!(ran.len(), 13, "{ran:?}");
    assert_eq!(project.run(&[]), [""; 0]);
    for stage in ["teacher", "int8", "student"] {
        let dir = project.pipe(&["cache", "path", "p.toml", stage]).1;
        assert!(Path::new(dir.trim()).join("tokenizer.json").is_file(), "{stage} in {dir}");
        let (code, out, err) = project.pipe(&["predict", dir.trim(), "--text", "the queue was awful"]);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("\"label\":\"cross\"") || out.contains("\"label\":\"happy\""), "{out}");
    }
    project
}

/// The names of a model's tensors, sorted.
pub fn tensors(project: &Project, stage: &str) -> Vec<String> {
    let dir = project.pipe(&["cache", "path", "p.toml", stage]).1;
    let bytes = fs::read(Path::new(dir.lines().next().unwrap()).join("model.safetensors")).unwrap();
    let mut names: Vec<String> =
        safetensors::SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn deberta_from_its_sentencepiece_model() {
    let project = every_kind(DEBERTA, "deberta");
    // The student has every second layer, and the shared table of relative positions.
    let student = tensors(&project, "student");
    assert!(student.contains(&"deberta.encoder.rel_embeddings.weight".to_owned()), "{student:?}");
    assert!(student.iter().all(|name| !name.contains("layer.1.")), "{student:?}");
    let adapter = project.pipe(&["cache", "path", "p.toml", "adapted.adapter"]).1;
    let adapter = fs::read_to_string(Path::new(adapter.trim()).join("adapter_config.json")).unwrap();
    assert!(adapter.contains("query_proj") && adapter.contains("value_proj"), "{adapter}");
}

#[test]
fn bert_from_its_vocabulary() {
    let project = every_kind(BERT, "bert");
    assert!(tensors(&project, "teacher").contains(&"bert.pooler.dense.weight".to_owned()));
}

#[test]
fn distilbert_keeps_its_names_through_every_kind() {
    let project = every_kind(DISTILBERT, "bert");
    let student = tensors(&project, "student");
    assert!(student.contains(&"distilbert.transformer.layer.0.attention.q_lin.weight".to_owned()), "{student:?}");
    assert!(student.iter().all(|name| !name.contains("layer.1.")), "{student:?}");
}

#[test]
fn a_deeper_head_trains_and_is_kept() {
    let project = Project::new();
    project.write("p.toml", &PIPELINE.replace("epochs = 2\n", "epochs = 2\nhead = \"mlp\"\n"));
    let ran = project.run(&["scores[student]"]);
    assert!(ran.contains(&"student".to_owned()), "{ran:?}");
    for stage in ["teacher", "student"] {
        assert!(tensors(&project, stage).contains(&"classifier.layers.2.bias".to_owned()), "{stage}");
    }
    // Used as a base, the model keeps its head unless another is requested.
    let teacher = project.pipe(&["cache", "path", "p.toml", "teacher"]).1;
    fs::create_dir(project.path("deep")).unwrap();
    for file in fs::read_dir(teacher.trim()).unwrap().map(|file| file.unwrap().path()) {
        fs::write(project.path("deep").join(file.file_name().unwrap()), fs::read(&file).unwrap()).unwrap();
    }
    project.write("p.toml", &PIPELINE.replace("base = \"tiny\"", "base = \"deep\""));
    let (code, _, err) = project.pipe(&["run", "p.toml", "teacher"]);
    assert!(code == 0 && !err.contains("initialised from seed"), "{err}");
    assert!(tensors(&project, "teacher").contains(&"classifier.layers.2.bias".to_owned()));

    let (code, _, err) = project.pipe(&["plan", "p.toml", "--set", "stage.teacher.head=deep"]);
    assert_eq!(code, 2);
    assert!(err.contains("mlp"), "{err}");
}

#[test]
fn a_tokenizer_that_pads_with_another_id_is_refused() {
    let project = Project::new();
    let config = fs::read_to_string(project.path("tiny/config.json")).unwrap();
    project.write("tiny/config.json", &config.replace("\"pad_token_id\": 1", "\"pad_token_id\": 4"));
    let (code, _, err) = project.pipe(&["run", "p.toml", "teacher"]);
    assert_eq!(code, 1);
    let expected =
        "the tokens are padded with id 1, but the model's padding id is 4 (`pad_token_id` of its config.json)";
    assert!(err.contains(expected), "{err}");
}

#[test]
fn an_adapter_from_elsewhere_is_merged_and_compressed() {
    let project = Project::new();
    project.run(&["adapted"]);
    let adapter = project.pipe(&["cache", "path", "p.toml", "adapted.adapter"]).1;
    // The same base with the adapter's labels and other weights.
    let base = project.pipe(&["cache", "path", "p.toml", "adapted.model"]).1;
    let copy = |from: &str, to: &str| {
        fs::create_dir(project.path(to)).unwrap();
        for file in fs::read_dir(from.trim()).unwrap().map(|file| file.unwrap().path()) {
            fs::write(project.path(to).join(file.file_name().unwrap()), fs::read(&file).unwrap()).unwrap();
        }
    };
    copy(&base, "whole");
    copy(&adapter, "theirs");
    // The corpus and tokens of `PIPELINE`, then the whole chain: merged, pruned, recovered, quantized.
    let rows = PIPELINE.split("[stage.teacher]").next().unwrap();
    let chain = r#"
[stage.merged]
use = "merge"
base = "whole"
adapter = "theirs"
[stage.pruned]
use = "prune@0.3"
in.model = "merged"
in.tokens = "tokens"
recover-epochs = 1
[stage.small]
use = "quantize@int8"
in.model = "pruned"
in.tokens = "tokens"
"#;
    project.write("m.toml", &format!("{rows}{chain}"));
    let (code, _, err) = project.pipe(&["run", "m.toml"]);
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = project.pipe(&["predict", "m.toml:small", "--text", "the price was nasty"]);
    assert!(code == 0 && out.contains("\"label\""), "{out}{err}");

    fs::remove_file(project.path("theirs/adapter_model.safetensors")).unwrap();
    let (code, _, err) = project.pipe(&["run", "m.toml"]);
    assert_eq!(code, 1);
    assert!(err.contains("has neither adapter_model.safetensors nor adapter_model.bin"), "{err}");
    project.write("m.toml", "name = \"m\"\n[stage.merged]\nuse = \"merge\"\nbase = \"whole\"\nadapter = \"hf:a/b\"\n");
    let (code, _, err) = project.pipe(&["plan", "m.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("it must be a folder"), "{err}");
}
