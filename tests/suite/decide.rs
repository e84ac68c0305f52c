//! Decisions through the binary: fitted on validation rows, shown by `evaluate`, used by `predict`, and what is refused.

use std::fs;

use serde_json::Value;

use super::project::{Project, trained};

/// An evaluation on validation rows, a decision, and an evaluation on test rows without and with it.
const STAGES: &str = r#"
[stage.val]
use = "evaluate"
in.model = "teacher"
in.tokens = "tokens"
split = "validation"
speed-seconds = 0
[stage.rule]
use = "decide@covid"
in.predictions = "val.predictions"
[stage.plain]
use = "evaluate"
in.model = "teacher"
in.tokens = "tokens"
speed-seconds = 0
[stage.decided]
use = "evaluate"
in.model = "teacher"
in.tokens = "tokens"
in.decision = "rule"
speed-seconds = 0
"#;

fn project(more: &str) -> Project {
    let p = Project::new();
    p.write("p.toml", &[&trained(1), STAGES, more].concat());
    p
}

fn json(p: &Project, stage: &str, file: &str) -> Value {
    let found = p.folders("p.toml", stage).into_iter().map(|dir| dir.join(file)).find(|file| file.is_file()).unwrap();
    serde_json::from_slice(&fs::read(found).unwrap()).unwrap()
}

#[test]
fn a_decision_is_fitted_shown_before_and_after_and_compared() {
    let comparison = "[stage.comparison]\nuse = \"compare\"\nin.metrics = [\"plain\", \"decided\"]\nexport = \"out\"\n";
    let p = project(comparison);
    let err = p.run_file("p.toml");
    assert!(err.contains("covid at temperature ") && err.contains("thresholds: cross "), "{err}");
    assert!(
        err.contains("gain on rows that it was not fitted on, mean ± standard deviation of 5 folds: macro F1 "),
        "{err}"
    );
    let rule = json(&p, "rule", "decision.json");
    assert_eq!(rule["method"], "covid");
    assert_eq!(rule["labels"], serde_json::json!(["cross", "happy"]));
    assert_eq!(rule["fitted_on"]["split"], "validation");
    assert_eq!(rule["fitted_on"]["per_label"], serde_json::json!([16, 16]));
    assert_eq!(rule["rule"]["frequencies"], serde_json::json!([0.5, 0.5]));
    assert_eq!(rule["out_of_fold"]["folds"], 5);
    // The plain evaluation has everything but a decision; the other has its figures as those before.
    let (plain, decided) = (p.metrics("plain"), p.metrics("decided"));
    assert!(plain.get("decision").is_none() && plain["calibration"]["bins"].as_array().unwrap().len() == 15);
    assert_eq!(plain["calibration"]["nll"].as_f64().unwrap() as f32, plain["loss"].as_f64().unwrap() as f32);
    let effect = &decided["decision"];
    assert_eq!(effect["before"]["accuracy"], plain["accuracy"]);
    assert_eq!(effect["before"]["confusion"], plain["confusion"]);
    assert_eq!(effect["calibration_before"], plain["calibration"]);
    let change = decided["accuracy"].as_f64().unwrap() - plain["accuracy"].as_f64().unwrap();
    let net = effect["gained"].as_f64().unwrap() - effect["lost"].as_f64().unwrap();
    assert!((change - net / 40.0).abs() < 1e-12, "{effect}");
    let file = |stage: &str, name: &str| {
        let found = p.folders("p.toml", stage).into_iter().map(|dir| dir.join(name)).find(|file| file.is_file());
        found.map(|file| fs::read_to_string(file).unwrap())
    };
    assert!(file("plain", "decision.md").is_none() && file("plain", "reliability.svg").unwrap().starts_with("<svg "));
    let table = file("decided", "decision.md").unwrap();
    assert!(table.contains("| macro F1        | ") && table.contains("; McNemar's p "), "{table}");
    assert!(file("decided", "decision.csv").unwrap().contains("\nece,"));
    assert_eq!(file("decided", "reliability.csv").unwrap().lines().count(), 31);
    // Both are variants of one comparison, on the same rows.
    let compared = fs::read_to_string(p.path("out/comparison.csv")).unwrap();
    assert_eq!(compared.lines().count(), 3);
    // Nothing runs twice.
    assert_eq!(p.run(&[]), [""; 0]);
}

#[test]
fn test_rows_are_refused_with_their_line_before_anything_runs() {
    let p = Project::new();
    let text = [&trained(1), &STAGES.replace("\"val.predictions\"", "\"plain.predictions\"")[..]].concat();
    p.write("p.toml", &text);
    let line = |what: &str| text.lines().position(|line| line == what).unwrap() + 1;
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    assert_eq!(code, 2, "{err}");
    let at = line("in.predictions = \"plain.predictions\"");
    let plain = line("[stage.plain]");
    let expected = format!(
        r#"error: stage `rule` would fit a decision on test rows: `plain` scores them; figures on rows that a decision was fitted on flatter it
  --> p.toml:{at}:18
   |
{at} | in.predictions = "plain.predictions"
   |                  ^^^^^^^^^^^^^^^^^^^
   |
help: add a stage as `plain` (p.toml:{plain}) with `split = "validation"`, and fit on its predictions; score the decision on test rows with `in.decision`"#
    );
    assert_eq!(err.trim(), expected, "\n{err}");
}

#[test]
fn values_for_labels_that_do_not_exist_are_refused_before_anything_runs() {
    let named = trained(1).replace("validation = 0.2", "validation = 0.2\nlabels = [\"cross\", \"happy\"]");
    let says = |rule: &str| {
        let p = Project::new();
        p.write("p.toml", &[&named, &STAGES.replace("use = \"decide@covid\"", rule)[..]].concat());
        let (code, _, err) = p.pipe(&["plan", "p.toml"]);
        assert_eq!(code, 2, "{err}");
        err.lines().next().unwrap().to_owned()
    };
    for (rule, message) in [
        (
            "use = \"decide@covid\"\nthresholds = { hapy = 0.4 }",
            "error: `thresholds` names the label `hapy`, which does not exist; the labels are cross, happy",
        ),
        (
            "use = \"decide\"\nprior = { happy = 0.4, glad = 0.6 }",
            "error: `prior` names the label `glad`, which does not exist; the labels are cross, happy",
        ),
        ("use = \"decide\"\nprior = { happy = 1 }", "error: `prior` lacks cross; it must name every label"),
        (
            "use = \"decide\"\nprior = { happy = 0.4, cross = 0.4 }",
            "error: the shares of the prior sum to 0.8, not to 1",
        ),
        (
            "use = \"decide\"\ncost = [[0, 1, 2], [1, 0, 1], [2, 1, 0]]",
            "error: `cost` has 3 rows of 3, but there are 2 labels: cross, happy",
        ),
        ("use = \"decide\"\ncost = [[0, 1], [5]]", "error: `cost` has 2 rows, but row 2 has 1 values"),
        ("use = \"decide@argmax\"\nabstain = 1.5", "error: abstain is 1.5; it is a probability, from 0 to 1"),
    ] {
        assert_eq!(says(rule), message);
    }
}

#[test]
fn predict_uses_the_decision_beside_the_model_or_the_given_one() {
    let more = r#"
[stage.unsure]
use = "decide@argmax"
in.predictions = "val.predictions"
in.model = "teacher"
with-model = true
temperature = 50
abstain = 0.9
[stage.int8]
use = "quantize@int8"
in.model = "unsure.model"
[stage.served]
use = "convert@onnx"
in.model = "unsure.model"
[stage.sure]
use = "evaluate"
in.model = "teacher"
in.tokens = "tokens"
in.decision = "unsure.decision"
speed-seconds = 0
"#;
    let p = project(more);
    let err = p.run_file("p.toml");
    assert!(err.contains("with abstain = 0.9, 0 of 40 rows get a label"), "{err}");
    assert!(p.metrics("sure")["decision"]["abstention"]["covered_accuracy"].is_null());
    let says = |words: &[&str]| {
        let (code, out, err) = p.pipe(&[&["predict"], words, &["--text", "the queue was great on day 3"]].concat());
        assert_eq!(code, 0, "{err}");
        (serde_json::from_str::<Value>(&out).unwrap(), err)
    };
    // The teacher itself has no decision.
    let (raw, err) = says(&["p.toml:teacher"]);
    assert!(raw["label"].is_string() && !err.contains("decision"), "{err}");
    // At temperature 50 no label has a probability of 0.9.
    let (given, err) = says(&["p.toml:teacher", "--decision", "p.toml:unsure"]);
    assert!(given["label"].is_null() && given["logits"] == raw["logits"], "{given}");
    assert_eq!(
        err.lines().last().unwrap(),
        "note: labels and scores are those of the decision argmax at temperature 50.0000, abstains below 0.9 (--decision)"
    );
    let top = given["scores"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).fold(0.0, f64::max);
    assert!(top < 0.6, "{given}");
    // The model with the decision beside it, and the int8 model made from it.
    for model in ["p.toml:unsure", "p.toml:int8"] {
        let (beside, err) = says(&[model]);
        assert!(
            beside["label"].is_null() && err.contains("(decision.json beside the model; --no-decision ignores it)"),
            "{err}"
        );
        let (ignored, _) = says(&[model, "--no-decision"]);
        assert!(ignored["label"].is_string());
    }
    let (code, out, _) =
        p.pipe(&["predict", "p.toml:unsure", "--format", "csv", "--text", "the queue was great on day 3"]);
    assert!(code == 0 && out.lines().nth(1).unwrap().starts_with("the queue was great on day 3,,"), "{out}");
    assert!(p.folder("p.toml", "served").join("decision.json").is_file());
    // A decision for other labels, and none at all.
    let file = json(&p, "rule", "decision.json").to_string().replace("\"happy\"", "\"glad\"");
    p.write("other.json", &file);
    let (code, _, err) = p.pipe(&["predict", "p.toml:teacher", "--decision", "other.json", "--text", "a"]);
    assert_eq!(code, 1);
    assert_eq!(
        err.trim(),
        "error: the decision is for the labels cross, glad, but the model gives cross, happy; fit one on this model's predictions"
    );
    let (code, _, err) = p.pipe(&["predict", "p.toml:teacher", "--decision", "no.json", "--text", "a"]);
    assert_eq!(code, 2);
    assert!(err.starts_with("error: there is no decision `no.json`\n"), "{err}");
}

#[test]
fn training_rows_and_rows_that_were_fitted_on_are_warned_of() {
    let more = "[stage.again]\nuse = \"evaluate\"\nin.model = \"teacher\"\nin.tokens = \"tokens\"\nin.decision = \"rule\"\nsplit = \"train\"\nspeed-seconds = 0\n";
    let p = project(more);
    p.write(
        "p.toml",
        &fs::read_to_string(p.path("p.toml")).unwrap().replace("split = \"validation\"", "split = \"train\""),
    );
    let err = p.run_file("p.toml");
    assert!(err.contains("`val` has the predictions of training rows: a model that learned them is surer"), "{err}");
    assert!(err.contains("`rule` was fitted on train rows too, so these figures flatter it"), "{err}");
}
