//! What is wrong with a decision and can be told before the first stage runs.

use serde_json::Value;

use super::given::Given;
use pipe_engine::contract::ahead::Ahead;
use pipe_engine::contract::kind::Invalid;
use pipe_ml::text::data::declare::spec::COVID19_LABELS;

pub(super) fn check(given: &Given, stage: &Ahead) -> Vec<Invalid> {
    let Some(source) = stage.input("predictions").filter(|source| source.kind() == "evaluate") else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    if source.parameters().get("split").and_then(Value::as_str) == Some("test") {
        wrong.push(Invalid::new("predictions", test_rows(stage.name(), source.name())).help(format!(
            "add a stage as `{}` ({}) with `split = \"validation\"`, and fit on its predictions; score the decision on \
                 test rows with `in.decision`",
            source.name(),
            source.line("split")
        )));
    }
    if let Some(labels) = labels(source) {
        let problems = given.problems(&labels).into_iter();
        wrong.extend(problems.map(|(key, message)| Invalid::new(key, message)));
    }
    wrong
}

/// The error for predictions of test rows.
pub(super) fn test_rows(stage: &str, source: &str) -> String {
    format!(
        "stage `{stage}` would fit a decision on test rows: `{source}` scores them; figures on rows that a decision was fitted \
         on flatter it"
    )
}

/// The labels of the rows that a stage scores, if the file tells them: by name, or by their format.
fn labels(mut stage: Ahead) -> Option<Vec<String>> {
    while let Some(from) = stage.input("tokens").or_else(|| stage.input("corpus")) {
        stage = from;
    }
    let parameters = stage.parameters();
    if let Some(names) = parameters.get("labels").and_then(Value::as_array) {
        return names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    }
    let sources = parameters.get("sources")?.as_array()?;
    let is_covid19 = |source: &Value| source.get("format").and_then(Value::as_str) == Some("covid19");
    sources.iter().all(is_covid19).then(|| COVID19_LABELS.map(str::to_owned).to_vec())
}
