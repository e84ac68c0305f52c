//! A model that is already trained enters a pipeline, whatever its labels' order.

use std::fs;
use std::path::Path;

use pipe_ml::files::weights;

use super::project::{Project, ROWS};

/// Copy the teacher into the project under another name, as a user who got it from elsewhere has it.
fn exported(p: &Project, name: &str) {
    p.run(&["teacher"]);
    fs::create_dir(p.path(name)).unwrap();
    for file in fs::read_dir(p.folder("p.toml", "teacher")).unwrap().map(|file| file.unwrap().path()) {
        fs::write(p.path(name).join(file.file_name().unwrap()), fs::read(&file).unwrap()).unwrap();
    }
}

fn rename(p: &Project, name: &str, labels: [&str; 2]) {
    let path = p.path(name).join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["id2label"] = serde_json::json!({ "0": labels[0], "1": labels[1] });
    config["label2id"] = serde_json::json!({ labels[0]: 0, labels[1]: 1 });
    fs::write(path, config.to_string()).unwrap();
}

/// Swap the two outputs of the head, with their names.
fn swap(p: &Project, name: &str, labels: [&str; 2]) {
    rename(p, name, labels);
    let path = p.path(name).join(weights::SINGLE);
    let mut tensors = weights::read(std::slice::from_ref(&path)).unwrap();
    for tensor in ["classifier.out_proj.weight", "classifier.out_proj.bias"] {
        let data = &mut tensors.get_mut(tensor).unwrap().data;
        let half = data.len() / 2;
        data.rotate_left(half);
    }
    weights::write_f32(&path, &tensors).unwrap();
}

fn bytes(dir: &Path, name: &str) -> Vec<u8> {
    fs::read(dir.join(name)).unwrap()
}

#[test]
fn a_trained_model_enters_and_goes_where_models_go() {
    let p = Project::new();
    exported(&p, "mine");
    let stages = r#"
[stage.mine]
use = "model@mine"
[stage.pruned]
use = "prune@0.3"
in.model = "mine"
[stage.int8]
use = "quantize@int8"
in.model = "mine"
in.tokens = "tokens"
[stage.student]
use = "distill"
in.teacher = "mine"
in.tokens = "tokens"
epochs = 1
[stage.served]
use = "convert@onnx"
in.model = "mine"
[stage.scores]
use = "evaluate"
in.model = ["mine", "pruned", "int8", "student"]
in.tokens = "tokens"
speed-seconds = 0
[stage.comparison]
use = "compare"
in.metrics = "scores"
export = "out"
"#;
    p.write("m.toml", &format!("{}{stages}", ROWS));
    let said = p.run_file("m.toml");
    assert!(!said.contains("warning"), "{said}");
    // Weights and config are those of the folder, and so is the score.
    let entered = p.folder("m.toml", "mine");
    for name in ["model.safetensors", "config.json", "tokenizer.json", "training.json"] {
        assert!(bytes(&entered, name) == bytes(&p.path("mine"), name), "{name}");
    }
    p.run(&["scores[teacher]"]);
    let scored = |file: &str, stage: &str| bytes(&p.folder(file, stage), "predictions.parquet");
    assert!(scored("m.toml", "scores[mine].predictions") == scored("p.toml", "scores[teacher].predictions"));
    assert!(p.path("out/comparison.csv").is_file());

    // An integer model stays one.
    let int8 = p.folder("m.toml", "int8");
    fs::create_dir(p.path("int8")).unwrap();
    for file in fs::read_dir(&int8).unwrap().map(|file| file.unwrap().path()) {
        fs::write(p.path("int8").join(file.file_name().unwrap()), fs::read(&file).unwrap()).unwrap();
    }
    p.write("again.toml", "[stage.again]\nuse = \"model@int8\"\n");
    p.run_file("again.toml");
    assert!(bytes(&p.folder("again.toml", "again"), "model.safetensors") == bytes(&int8, "model.safetensors"));

    // A change of a file in the folder is seen.
    let (_, plan, _) = p.pipe(&["plan", "m.toml"]);
    assert!(plan.lines().next().unwrap().ends_with(", 0 to run"), "{plan}");
    rename(&p, "mine", ["bad", "good"]);
    let (_, plan, _) = p.pipe(&["plan", "m.toml"]);
    assert!(plan.contains("run  mine") && plan.contains("mine/config.json"), "{plan}");
}

#[test]
fn labels_in_another_order_or_spelling_are_matched_by_name() {
    let p = Project::new();
    exported(&p, "mine");
    fs::create_dir(p.path("swapped")).unwrap();
    for file in fs::read_dir(p.path("mine")).unwrap().map(|file| file.unwrap().path()) {
        fs::copy(&file, p.path("swapped").join(file.file_name().unwrap())).unwrap();
    }
    swap(&p, "swapped", ["Happy", "CROSS"]);
    let stages = r#"
[stage.theirs]
use = "model@mine"
[stage.scores]
use = "evaluate"
in.model = "theirs"
in.tokens = "tokens"
speed-seconds = 0
[stage.pruned]
use = "prune@0.3"
in.model = "theirs"
in.tokens = "tokens"
recover-epochs = 1
[stage.narrow]
use = "prune"
structure = ["ffn"]
sparsity = 0.5
in.model = "theirs"
in.tokens = "tokens"
[stage.student]
use = "distill"
in.teacher = "theirs"
in.tokens = "tokens"
epochs = 1
[stage.further]
use = "train"
base = "mine"
in.tokens = "tokens"
epochs = 1
[stage.adapted]
use = "lora@2"
base = "mine"
in.tokens = "tokens"
epochs = 1
"#;
    p.write("mine.toml", &format!("{}{stages}", ROWS));
    p.write("swapped.toml", &format!("{}{}", ROWS, stages.replace("mine\"", "swapped\"")));
    let said = p.run_file("mine.toml");
    assert!(!said.contains("matched by name") && !said.contains("warning"), "{said}");
    let said = p.run_file("swapped.toml");
    let matched =
        "in another order or spelling than the tokens; they are matched by name: CROSS → cross, Happy → happy";
    for whose in ["the model has its labels", "the teacher has its labels", "the base has its labels"] {
        assert!(said.contains(&format!("{whose} {matched}")), "{whose}: {said}");
    }
    assert!(!said.contains("warning"), "{said}");
    let (mine, swapped) = (p.folder("mine.toml", "scores.predictions"), p.folder("swapped.toml", "scores.predictions"));
    assert!(bytes(&mine, "predictions.parquet") == bytes(&swapped, "predictions.parquet"));
    for stage in ["pruned", "narrow", "student", "further", "adapted.model"] {
        let (mine, swapped) = (p.folder("mine.toml", stage), p.folder("swapped.toml", stage));
        assert!(bytes(&mine, "model.safetensors") == bytes(&swapped, "model.safetensors"), "{stage}");
        let labels = |dir: &Path| {
            let config: serde_json::Value = serde_json::from_slice(&bytes(dir, "config.json")).unwrap();
            config["id2label"].clone()
        };
        assert_eq!(labels(&mine), labels(&swapped), "{stage}");
        assert_eq!(labels(&swapped)["0"], "cross", "{stage}");
    }
}

#[test]
fn other_labels_are_refused_and_outputs_without_names_can_be_named() {
    let p = Project::new();
    exported(&p, "mine");
    rename(&p, "mine", ["sad", "glad"]);
    let file = |labels: &str| {
        format!(
            "{}[stage.mine]\nuse = \"model@mine\"\n{labels}\n[stage.scores]\nuse = \"evaluate\"\nin.model = \"mine\"\n\
             in.tokens = \"tokens\"\nspeed-seconds = 0\n",
            ROWS
        )
    };
    p.write("m.toml", &file(""));
    let (code, _, err) = p.pipe(&["run", "m.toml"]);
    assert_eq!(code, 1);
    assert!(err.contains("the model classifies into sad, glad, but the tokens are labelled cross, happy\n"), "{err}");

    rename(&p, "mine", ["LABEL_0", "LABEL_1"]);
    let (code, _, err) = p.pipe(&["run", "m.toml"]);
    assert_eq!(code, 1);
    let note =
        "its labels have no names, only LABEL_0, LABEL_1; name them with `labels = […]` in the order of its outputs";
    assert!(err.contains(note), "{err}");
    assert!(err.contains("the model's labels have no names: if you know the order of its outputs"), "{err}");

    p.write("m.toml", &file("labels = [\"cross\", \"happy\"]"));
    p.run_file("m.toml");
    p.run(&["scores[teacher]"]);
    let scored = |file: &str, stage: &str| bytes(&p.folder(file, stage), "predictions.parquet");
    assert!(scored("m.toml", "scores.predictions") == scored("p.toml", "scores[teacher].predictions"));

    p.write("m.toml", &file("labels = [\"a\", \"b\", \"c\"]"));
    let (code, _, err) = p.pipe(&["run", "m.toml"]);
    assert!(code == 1 && err.contains("`labels` has 3 names, but the model in mine has 2 outputs"), "{err}");
    p.write("m.toml", &file("labels = [\"a\", \"a\"]"));
    let (code, _, err) = p.pipe(&["run", "m.toml"]);
    assert!(code == 2 && err.contains("labels has `a` twice"), "{err}");
}
