//! What travels with a model: how texts were cleaned, so that `predict` does the same, and the card of how it was made.

use std::fs;
use std::path::Path;

use super::project::{PIPELINE, Project};

/// The pipeline with texts cleaned in a way that changes many, and every kind that writes a model.
fn pipeline() -> String {
    let more = r#"
[stage.onnx]
use = "convert@onnx"
in.model = "teacher"
[stage.recovered]
use = "prune@0.3"
in.model = "teacher"
in.tokens = "tokens"
recover-epochs = 1
[stage.narrow]
use = "prune"
layers = 1
in.model = "teacher"
"#;
    let cleaned = "validation = 0.2\nmentions = { token = \"@user\" }\nurls = \"drop\"\n";
    format!("{}{more}", PIPELINE.replace("validation = 0.2\n", cleaned))
}

fn text(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap_or_else(|error| panic!("{name} in {}: {error}", dir.display()))
}

fn copy(p: &Project, from: &Path, to: &str) {
    fs::create_dir(p.path(to)).unwrap();
    for file in fs::read_dir(from).unwrap().map(|file| file.unwrap().path()) {
        fs::write(p.path(to).join(file.file_name().unwrap()), fs::read(&file).unwrap()).unwrap();
    }
}

#[test]
fn how_texts_were_cleaned_travels_through_every_kind() {
    let p = Project::new();
    p.write("p.toml", &pipeline());
    p.run_file("p.toml");
    let expected = "{\n  \"urls\": \"drop\",\n  \"mentions\": {\n    \"token\": \"@user\"\n  },\n  \"unescape-html\": true,\n  \
                    \"repair-encoding\": true,\n  \"collapse-whitespace\": true\n}\n";
    let models = ["teacher", "adapted.model", "pruned", "recovered", "narrow", "int8", "student", "onnx"];
    for stage in ["corpus", "tokens", "adapted.adapter"].iter().chain(&models) {
        assert_eq!(text(&p.folder("p.toml", stage), "preprocessing.json"), expected, "{stage}");
    }
    copy(&p, &p.folder("p.toml", "adapted.adapter"), "adapter");
    copy(&p, &p.folder("p.toml", "teacher"), "mine");
    p.write(
        "m.toml",
        "[stage.merged]\nuse = \"merge@adapter\"\nbase = \"mine\"\n[stage.entered]\nuse = \"model@mine\"\n",
    );
    p.run_file("m.toml");
    for stage in ["merged", "entered"] {
        assert_eq!(text(&p.folder("m.toml", stage), "preprocessing.json"), expected, "{stage}");
    }

    // Every model folder has a card; a converted one says what it was converted from.
    for stage in models {
        let card = text(&p.folder("p.toml", stage), "README.md");
        assert!(
            card.starts_with("---\nlicense: unknown # fill in") && card.contains("| 0 | cross |"),
            "{stage}: {card}"
        );
        assert!(card.contains("mentions replaced with `@user`"), "{stage}: {card}");
        assert!(!card.contains(&p.temp.path().display().to_string()), "{stage}: {card}");
    }
    let card = text(&p.folder("p.toml", "teacher"), "README.md");
    assert!(card.contains("Made with pipe: train from tiny.") && card.contains("Base model: `tiny`\n"), "{card}");
    assert!(card.contains("   epochs = 2\n") && card.contains("   learning-rate = 0.002\n"), "{card}");
    let scores = "validation rows, after epoch ";
    assert!(card.contains(scores) && card.contains("model-index:") && card.contains("| macro F1 | "), "{card}");
    let card = text(&p.folder("p.toml", "onnx"), "README.md");
    assert!(card.contains("library_name: onnx\n") && card.contains("train from tiny, then convert."), "{card}");
    assert!(!card.contains("model-index:") && card.contains("They are those of step 1 below"), "{card}");
    let card = text(&p.folder("p.toml", "student"), "README.md");
    assert!(card.contains("   - teacher: train from tiny\n"), "{card}");
    let card = text(&p.folder("m.toml", "entered"), "README.md");
    assert!(card.contains("train from tiny.") && card.contains("model-index:"), "{card}");

    // The same in a folder of another name gives the same bytes.
    let q = Project::new();
    q.write("p.toml", &pipeline());
    q.pipe(&["run", "p.toml", "int8"]);
    for name in ["README.md", "lineage.json"] {
        assert_eq!(text(&p.folder("p.toml", "int8"), name), text(&q.folder("p.toml", "int8"), name), "{name}");
    }
}

#[test]
fn predict_cleans_as_training_did() {
    let p = Project::new();
    p.write("p.toml", &pipeline());
    p.run(&["teacher"]);
    let logits = |words: &[&str]| -> (Vec<serde_json::Value>, String) {
        let (code, out, err) = p.pipe(&[&["predict"], words].concat());
        assert_eq!(code, 0, "{err}");
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        (out.lines().map(|text| line(text)["logits"].clone()).collect(), err)
    };
    let written = "@Jo_1 the  queue &amp; the price https://t.co/x was donâ€™t";
    let cleaned = "@user the queue & the price was don’t";
    let note = "note: texts are cleaned as for training (encodings repaired, HTML references replaced, URLs removed, mentions \
                replaced with `@user`, white space collapsed); --raw leaves them as they are\n";
    let (as_trained, said) = logits(&["p.toml:teacher", "--text", written, "--text", written]);
    assert_eq!(said, note);
    let (raw, said) = logits(&["p.toml:teacher", "--raw", "--text", cleaned, "--text", written]);
    assert_eq!(said, "");
    assert_eq!(as_trained[0], raw[0]);
    assert_eq!(as_trained[0], as_trained[1]);
    assert_ne!(as_trained[0], raw[1]);
    // What is printed is the text as it was given.
    let (_, out, _) = p.pipe(&["predict", "p.toml:teacher", "--text", written]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["text"], written);

    // Empty texts are predicted, and said.
    let (three, said) = logits(&["p.toml:teacher", "--text", "good", "--text", "https://t.co/x", "--text", " "]);
    assert_eq!(three.len(), 3);
    let last = "note: 2 texts are empty, the first of them text 2 after cleaning; their labels say nothing\n";
    assert_eq!(said, format!("{note}{last}"));
    let (_, said) = logits(&["p.toml:teacher", "--raw", "--text", ""]);
    assert_eq!(said, "note: text 1 is empty; its label says nothing\n");

    // A model from elsewhere says nothing about texts.
    copy(&p, &p.folder("p.toml", "teacher"), "mine");
    fs::remove_file(p.path("mine/preprocessing.json")).unwrap();
    let (mine, said) = logits(&["mine", "--text", cleaned, "--text", written]);
    assert_eq!((mine, said.as_str()), (raw, ""));
    p.write("mine/preprocessing.json", "{\"stem\": true}");
    let (code, _, err) = p.pipe(&["predict", "mine", "--text", "x"]);
    assert!(code == 1 && err.contains("or a later version of pipe wrote it"), "{err}");
}

#[test]
fn rows_cleaned_otherwise_than_those_of_training_are_told() {
    let p = Project::new();
    p.run(&["teacher"]);
    copy(&p, &p.folder("p.toml", "teacher"), "mine");
    let rows = pipeline().split("[stage.teacher]").next().unwrap().to_owned();
    let scores = "[stage.mine]\nuse = \"model@mine\"\n[stage.scores]\nuse = \"evaluate\"\nin.model = \"mine\"\n\
                  in.tokens = \"tokens\"\nspeed-seconds = 0\n";
    p.write("m.toml", &format!("{rows}{scores}"));
    let said = p.run_file("m.toml");
    let expected = "these rows were cleaned otherwise (encodings repaired, HTML references replaced, URLs removed, mentions \
                    replaced with `@user`, white space collapsed) than those that the model was trained on (encodings \
                    repaired, HTML references replaced, white space collapsed)";
    assert!(said.contains(expected), "{said}");
}
