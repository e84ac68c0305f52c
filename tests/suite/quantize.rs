//! `quantize` through the binary: every scheme from data to scores, and invalid parameters.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::project::Project;

fn pipeline(stages: &str) -> Project {
    let project = Project::new();
    let text = fs::read_to_string(project.path("p.toml")).unwrap();
    let end = text.find("[stage.adapted]").unwrap();
    project.write("p.toml", &format!("{}{stages}", &text[..end]));
    project
}

#[test]
fn every_scheme_scores_close_to_its_teacher_and_reports_its_layers() {
    let schemes = [("int8", 6), ("int8-static", 6), ("int4", 6), ("fp16", 0), ("bf16", 0)];
    let quantized: String = schemes
        .iter()
        .map(|(name, _)| {
            format!("[stage.{name}]\nuse = \"quantize@{name}\"\nin.model = \"teacher\"\nin.tokens = \"tokens\"\ncalibration = 16\n")
        })
        .collect();
    let names: Vec<String> = schemes.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let project = pipeline(&format!(
        "{quantized}[stage.scores]\nuse = \"evaluate\"\nin.model = [\"teacher\", {}]\nin.tokens = \"tokens\"\nspeed-seconds = 0\n",
        names.join(", ")
    ));
    project.run(&[]);
    assert_eq!(project.run(&[]), [""; 0]);
    let folder = |name: &str| project.pipe(&["cache", "path", "p.toml", name]).1.trim().to_owned();
    let read = |dir: String, file: &str| -> Value {
        serde_json::from_slice(&fs::read(Path::new(&dir).join(file)).unwrap()).unwrap()
    };
    let accuracy =
        |name: &str| read(folder(&format!("scores[{name}].metrics")), "metrics.json")["accuracy"].as_f64().unwrap();
    let size = |name: &str| fs::metadata(Path::new(&folder(name)).join("model.safetensors")).unwrap().len();
    for (name, per_layer) in schemes {
        assert!(
            (accuracy(name) - accuracy("teacher")).abs() <= 0.1,
            "{name} {} {}",
            accuracy(name),
            accuracy("teacher")
        );
        let report = read(folder(name), "quantization.json");
        assert_eq!(report["layers"].as_array().unwrap().len(), 2 * per_layer, "{report:#}");
        assert!(
            report["layers"]
                .as_array()
                .unwrap()
                .iter()
                .all(|l| l["name"].as_str().is_some_and(|n| n.contains("layer.")))
        );
    }
    assert!(size("int4") < size("int8") && size("int8") * 2 < size("teacher"));
    assert_eq!(read(folder("int4"), "config.json")["quantization_config"]["format"], "mixed-precision");
    let (_, shown, _) = project.pipe(&["show", "p.toml", "int4"]);
    assert!(shown.contains("largest-layer-error"), "{shown}");
}

#[test]
fn what_cannot_be_done_is_one_clear_error() {
    let again = "[stage.once]\nuse = \"quantize@int4\"\nin.model = \"teacher\"\n\
                 [stage.twice]\nuse = \"quantize@int8\"\nin.model = \"once\"\n\
                 [stage.uneven]\nuse = \"quantize@int4\"\nin.model = \"teacher\"\ngroup-size = 128\n";
    let project = pipeline(again);
    let failed = |stage: &str| {
        let (code, _, err) = project.pipe(&["run", "p.toml", stage]);
        assert_eq!(code, 1, "{err}");
        err
    };
    let err = failed("twice");
    assert!(err.contains("is already quantized; quantize the model it was made from"), "{err}");
    let err = failed("uneven");
    let expected = ".weight has 64 inputs, not a multiple of group-size 128; group-size = 64 fits all layers";
    assert!(err.contains(expected), "{err}");

    let mistakes = [
        ("quantize@int3", "", "int3"),
        ("quantize@int8", "calibration = 0\n", "calibration is 0; at least 1 row is needed"),
        ("quantize@int4", "group-size = 0\n", "group-size is 0; it must be a multiple of 8, such as 32, 64 or 128"),
        ("quantize@int4", "group-size = 12\n", "group-size is 12; it must be a multiple of 8, such as 32, 64 or 128"),
        ("quantize@int8", "group-size = 32\n", "group-size applies only to int4, not to int8"),
    ];
    for (kind, line, expected) in mistakes {
        let project = pipeline(&format!("[stage.small]\nuse = \"{kind}\"\nin.model = \"teacher\"\n{line}"));
        let (code, _, err) = project.pipe(&["plan", "p.toml"]);
        assert_eq!(code, 2, "{kind} {line}: {err}");
        assert!(err.contains(expected), "{kind} {line}: {err}");
    }
    let (code, _, err) =
        pipeline("[stage.small]\nuse = \"quantize@int3\"\nin.model = \"teacher\"\n").pipe(&["plan", "p.toml"]);
    assert!(code == 2 && err.contains("int4") && err.contains("bf16"), "the schemes are named: {err}");
}
