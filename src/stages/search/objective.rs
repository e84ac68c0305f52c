//! What a search optimizes: a figure of a stage's result.

use std::fs;

use pipe_engine::contract::kind::Invalid;
use pipe_engine::contract::trial::{Found, Target};
use pipe_engine::text::diagnostic::closest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stages::shared::types::MODEL;

/// Whether more or less of the objective is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Direction {
    Maximize,
    Minimize,
}

/// Figures of which more is better, and of which less is better.
const MORE: [&str; 6] = ["accuracy", "macro-f1", "macro-precision", "macro-recall", "macro-auc", "samples-per-second"];
const LESS: [&str; 5] = ["loss", "latency-p50-ms", "latency-p95-ms", "bytes", "peak-memory-bytes"];

/// The best value of the metric that decides during training: a figure of the kinds that train.
const VALIDATION: &str = "validation";

/// `scores.macro-f1`: a stage, or one instance of it, and a figure of its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Objective<'a> {
    pub target: &'a str,
    pub figure: &'a str,
}

impl<'a> Objective<'a> {
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let (target, figure) = text.rsplit_once('.')?;
        (!target.is_empty() && !figure.is_empty() && !figure.contains(']')).then_some(Self { target, figure })
    }

    /// The direction, unless the figure does not say. `parameters` are those of the target.
    pub(super) fn direction(&self, parameters: &Value) -> Option<Direction> {
        let name = match self.figure {
            VALIDATION => parameters.get("metric").and_then(Value::as_str)?,
            figure => figure,
        };
        if MORE.contains(&name) {
            Some(Direction::Maximize)
        } else if LESS.contains(&name) {
            Some(Direction::Minimize)
        } else {
            None
        }
    }

    /// What is wrong with the objective, seen from the stage that it names.
    pub(super) fn check(&self, target: &Target, direction: Option<Direction>) -> Vec<Invalid> {
        let Self { target: name, figure } = self;
        let wrong = |message: String| Invalid::new("objective", message);
        let mut problems = Vec::new();
        if target.kind == "evaluate" {
            let split = target.parameters.get("split").and_then(Value::as_str).unwrap_or_default();
            if split != "validation" {
                problems.push(
                    wrong(format!("the objective scores {split} rows: `{name}` must score validation rows"))
                        .help(format!("write `split = \"validation\"` in [stage.{name}]; score the best model on test rows once, with another `evaluate` of `in.model = \"….best\"`")),
                );
            }
            let known = || MORE.iter().chain(&LESS).copied();
            if !known().any(|known| known == *figure) {
                let near = closest(figure, known()).map(|near| format!("did you mean `{name}.{near}`?"));
                let all = || format!("`evaluate` gives {}", known().collect::<Vec<_>>().join(", "));
                problems.push(wrong(format!("`{name}` gives no `{figure}`")).help(near.unwrap_or_else(all)));
            }
        }
        let gives_model = target.inputs.iter().chain(target.outputs).any(|(_, ty)| *ty == MODEL.0);
        if !gives_model {
            problems.push(wrong(format!("`{name}` neither takes nor gives a model, so there would be no best one")));
        }
        if problems.is_empty() && direction.or_else(|| self.direction(target.parameters)).is_none() {
            problems.push(
                wrong(format!("it is not known whether more or less `{figure}` is better"))
                    .help("add `direction = \"maximize\"` or `direction = \"minimize\"`"),
            );
        }
        problems
    }

    /// The value that a trial gave, or why there is none.
    pub(super) fn value(&self, found: &Found) -> Result<f64, String> {
        if let Some(value) = found.entry.made.facts.get(self.figure) {
            return Ok(*value);
        }
        let of_file = || {
            let file = found.outputs.get("metrics")?.join("metrics.json");
            let all: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
            all.get(self.figure.replace('-', "_"))?.as_f64()
        };
        of_file().filter(|value| value.is_finite()).ok_or_else(|| {
            let known: Vec<&str> = found.entry.made.facts.keys().map(String::as_str).collect();
            format!("{} gave no finite `{}`; it gave {}", found.stage, self.figure, known.join(", "))
        })
    }
}
