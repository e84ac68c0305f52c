//! Converts models to ONNX through the binary.

use std::fs;

use crate::project::{PIPELINE, Project};

/// The pipeline with a stage for each precision.
fn project() -> Project {
    let project = Project::new();
    let stages: String = ["f32", "f16", "int8"]
        .iter()
        .map(|p| format!("[stage.onnx-{p}]\nuse = \"convert@onnx\"\nin.model = \"teacher\"\nprecision = \"{p}\"\n"))
        .collect();
    project.write("p.toml", &format!("{PIPELINE}{stages}"));
    project
}

#[test]
fn a_model_becomes_a_file_with_its_labels_and_tokenizer_beside_it() {
    let project = project();
    let ran = project.run(&["onnx-f32", "onnx-f16", "onnx-int8"]);
    assert!(ran.contains(&"onnx-int8".to_owned()), "{ran:?}");
    assert_eq!(project.run(&["onnx-f32", "onnx-f16", "onnx-int8"]), [""; 0]);
    let size = |stage: &str| fs::metadata(project.folder("p.toml", stage).join("model.onnx")).unwrap().len();
    let [f32, f16, int8] = ["onnx-f32", "onnx-f16", "onnx-int8"].map(size);
    assert!(f16 < f32 * 6 / 10 && int8 < f32 * 4 / 10, "{f32} {f16} {int8}");
    for stage in ["onnx-f32", "onnx-f16", "onnx-int8"] {
        let dir = project.folder("p.toml", stage);
        let config = fs::read_to_string(dir.join("config.json")).unwrap();
        assert!(config.contains("\"cross\"") && config.contains("\"happy\""), "{config}");
        assert!(dir.join("tokenizer.json").is_file() && !dir.join("model.safetensors").exists(), "{stage}");
        rten::Model::load_file(dir.join("model.onnx")).unwrap();
    }
}

#[test]
fn what_has_no_floats_any_more_is_not_converted() {
    let project = project();
    let (code, _, err) = project.pipe(&["run", "p.toml", "onnx-int8", "--set", "stage.onnx-int8.in.model=\"int8\""]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("is quantized already; convert the model it was made from"), "{err}");
}

#[test]
fn an_onnx_model_is_evaluated_but_not_compressed() {
    let project = project();
    let stages: String = ["f32", "f16", "int8"]
        .iter()
        .map(|p| format!("[stage.by-{p}]\nuse = \"evaluate\"\nin.model = \"onnx-{p}\"\nin.tokens = \"tokens\"\n"))
        .collect();
    let more = "[stage.by-pipe]\nuse = \"evaluate\"\nin.model = \"teacher\"\nin.tokens = \"tokens\"\n\
                [stage.table]\nuse = \"compare\"\nin.metrics = [\"by-pipe\", \"by-f32\", \"by-f16\", \"by-int8\"]\n";
    let text = fs::read_to_string(project.path("p.toml")).unwrap();
    project.write("p.toml", &format!("{text}{stages}{more}"));
    project.run(&["table"]);
    let metrics = |stage: &str| -> serde_json::Value {
        let path = project.folder("p.toml", &format!("{stage}.metrics")).join("metrics.json");
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let pipe = metrics("by-pipe");
    for (stage, tolerance) in [("by-f32", 1e-5), ("by-f16", 1e-2), ("by-int8", 0.2)] {
        let onnx = metrics(stage);
        let differ = |key: &str| (onnx[key].as_f64().unwrap() - pipe[key].as_f64().unwrap()).abs();
        assert!(differ("loss") < tolerance, "{stage}: {onnx} {pipe}");
        assert_eq!(onnx["parameters"], pipe["parameters"], "{stage}");
        assert!(differ("non_zero") <= pipe["non_zero"].as_f64().unwrap() * 0.02, "{stage}: {onnx} {pipe}");
        let file = fs::metadata(project.folder("p.toml", &stage.replace("by", "onnx")).join("model.onnx")).unwrap();
        assert_eq!(onnx["bytes"], file.len());
        assert!(onnx["latency_p50_ms"].as_f64().unwrap() > 0.0);
    }
    project.write("p.toml", &format!("{text}[stage.more]\nuse = \"prune@0.5\"\nin.model = \"onnx-f32\"\n"));
    let (code, _, err) = project.pipe(&["plan", "p.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("stage `more` gets an onnx model where it needs a model"), "{err}");
    assert!(err.contains("help: stages that give a model: "), "{err}");
}

#[test]
fn a_precision_that_nobody_knows_is_refused_with_the_known_ones() {
    let project = project();
    let (code, _, err) = project.pipe(&["plan", "p.toml", "--set", "stage.onnx-f32.precision=f8"]);
    assert_eq!(code, 2);
    assert!(err.contains("f32") && err.contains("f16") && err.contains("int8"), "{err}");
}
