//! Fits a decision on the predictions of validation rows.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::given::Given;
use super::{ahead, words};
use crate::stages::shared::lineage::{Lineage, Step};
use crate::stages::shared::types::{DECISION, MODEL, PREDICTIONS};
use pipe_engine::contract::ahead::Ahead;
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Extra, Invalid, MorePorts, Port, Stage};
use pipe_ml::judge::decide::{Decision, FittedOn, Labelled, Method, out_of_fold};
use pipe_ml::model::Config;
use pipe_ml::model::adopt::copy;
use pipe_ml::text::data::declare::spec::Purpose;
use pipe_ml::text::data::predictions::Predictions;
use pipe_ml::text::data::scored::ScoredRows;

/// Fits what turns the logits of a model into labels, on the predictions of validation rows: first a temperature that makes
/// the probabilities fit, then thresholds, weights, or nothing more. `evaluate` and `predict` use it. See docs/decide.md.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Decide {
    /// How a label is chosen: `argmax`, `covid`, `macro-f1`, `cost` or `prior`. Default: `cost` if there are costs, `prior`
    /// if there is a prior, otherwise `macro-f1`.
    #[serde(default)]
    method: Option<Method>,
    /// What divides the logits; 1 leaves the probabilities as they are. Default: the one that makes the cross-entropy of the
    /// rows least.
    #[serde(default)]
    temperature: Option<f64>,
    /// Thresholds of `covid` that are not to be fitted: `{ Positive = 0.4 }`.
    #[serde(default)]
    thresholds: BTreeMap<String, f64>,
    /// How frequent each label was in the rows that the model was trained on, as counts or shares, for `covid` and `prior`.
    /// Default: in the training rows of the tokens that `evaluate` read.
    #[serde(default)]
    frequencies: BTreeMap<String, f64>,
    /// How frequent each label will be where the model is used, for `prior` and `cost`: `{ negative = 0.7, positive = 0.3 }`.
    #[serde(default)]
    prior: BTreeMap<String, f64>,
    /// What each mistake costs: a row for each true label, a column for each given label, in the order of the labels.
    #[serde(default)]
    cost: Option<Vec<Vec<f64>>>,
    /// Give no label if its probability is below this.
    #[serde(default)]
    abstain: Option<f64>,
    /// The gain is measured on this many folds: fitted on all but one, measured on that one, and so on.
    #[serde(default = "five")]
    folds: usize,
    /// Also give the model of `in.model` with the decision beside it, so that `predict` uses it.
    #[serde(default)]
    with_model: bool,
}

fn five() -> usize {
    5
}

/// More folds are leave-one-out under another name, and slow.
const MOST_FOLDS: usize = 100;
/// Shares that sum to 1 but for this are taken as meant; people write thirds with four digits.
const ROUNDING: f64 = 1e-3;

impl Decide {
    fn method(&self) -> Method {
        self.method.unwrap_or(match (&self.cost, self.prior.is_empty()) {
            (Some(_), _) => Method::Cost,
            (None, false) => Method::Prior,
            (None, true) => Method::MacroF1,
        })
    }

    pub(super) fn given(&self) -> Given<'_> {
        Given {
            method: self.method(),
            temperature: self.temperature,
            thresholds: &self.thresholds,
            frequencies: &self.frequencies,
            prior: &self.prior,
            cost: self.cost.as_ref(),
        }
    }

    /// A parameter that the method does not use, or lacks.
    fn check_method(&self) -> Vec<Invalid> {
        let method = self.method();
        let name = method.name();
        let mut wrong = Vec::new();
        if method == Method::Cost && self.cost.is_none() {
            wrong.push(
                Invalid::new("method", "the method `cost` needs the costs")
                    .help("write `cost = [[0, 1], [5, 0]]`: a row for each true label, a column for each given label"),
            );
        }
        if method == Method::Prior && self.prior.is_empty() {
            wrong.push(
                Invalid::new("method", "the method `prior` needs the prior")
                    .help("write `prior = { LABEL = 0.7, … }`: how frequent each label will be"),
            );
        }
        let mut idle = |key: &'static str, is_set: bool, users: &[Method]| {
            if is_set && !users.contains(&method) {
                let of: Vec<String> = users.iter().map(|user| format!("`{}`", user.name())).collect();
                let message = format!("`{key}` is for the method {}, but the method is `{name}`", of.join(" or "));
                wrong.push(Invalid::new(key, message).help(format!("leave out `{key}`, or choose another method")));
            }
        };
        idle("cost", self.cost.is_some(), &[Method::Cost]);
        idle("prior", !self.prior.is_empty(), &[Method::Prior, Method::Cost]);
        idle("thresholds", !self.thresholds.is_empty(), &[Method::Covid]);
        let needs_frequencies = [Method::Covid, Method::Prior];
        let with_prior: &[Method] =
            if self.prior.is_empty() { &needs_frequencies } else { &[Method::Prior, Method::Cost] };
        idle("frequencies", !self.frequencies.is_empty(), with_prior);
        wrong
    }

    fn check_numbers(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        if let Some(t) = self.temperature.filter(|t| !(t.is_finite() && *t > 0.0)) {
            wrong.push(Invalid::new("temperature", format!("temperature is {t}; it must be above 0")));
        }
        if let Some(least) = self.abstain.filter(|least| !(0.0..=1.0).contains(least)) {
            wrong.push(Invalid::new("abstain", format!("abstain is {least}; it is a probability, from 0 to 1")));
        }
        if !(2..=MOST_FOLDS).contains(&self.folds) {
            wrong.push(Invalid::new("folds", format!("folds is {}; it must be from 2 to {MOST_FOLDS}", self.folds)));
        }
        for (label, threshold) in &self.thresholds {
            if !(*threshold > 0.0 && *threshold <= 1.0) {
                let message = format!("the threshold of `{label}` is {threshold}; it must be above 0 and at most 1");
                wrong.push(Invalid::new("thresholds", message));
            }
        }
        for (label, count) in &self.frequencies {
            if !(count.is_finite() && *count > 0.0) {
                wrong.push(Invalid::new(
                    "frequencies",
                    format!("the frequency of `{label}` is {count}; it must be above 0"),
                ));
            }
        }
        for (label, share) in &self.prior {
            if !(*share > 0.0 && *share <= 1.0) {
                let message = format!("the prior of `{label}` is {share}; it must be above 0 and at most 1");
                wrong.push(Invalid::new("prior", message));
            }
        }
        let sum: f64 = self.prior.values().sum();
        if !self.prior.is_empty() && (sum - 1.0).abs() > ROUNDING {
            // Rounded, because the sum of decimals seldom is one.
            let shown = (sum * 1e6).round() / 1e6;
            wrong.push(Invalid::new("prior", format!("the shares of the prior sum to {shown}, not to 1")));
        }
        wrong.extend(self.check_cost());
        wrong
    }

    fn check_cost(&self) -> Option<Invalid> {
        let cost = self.cost.as_ref()?;
        let rows = cost.len();
        if let Some((at, row)) = cost.iter().enumerate().find(|(_, row)| row.len() != rows) {
            let message = format!("`cost` has {rows} rows, but row {} has {} values", at + 1, row.len());
            return Some(
                Invalid::new("cost", message).help("a row for each true label, a column for each given label"),
            );
        }
        let wrong = cost.iter().flatten().find(|value| !value.is_finite())?;
        Some(Invalid::new("cost", format!("a cost is {wrong}; costs are finite")))
    }
}

impl Stage for Decide {
    const KIND: &'static str = "decide";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("method");
    const INPUTS: &'static [Port] = &[Port::one("predictions", PREDICTIONS)];
    const OUTPUTS: &'static [Port] = &[Port::one("decision", DECISION)];
    const MORE_PORTS: MorePorts = MorePorts::ByParameters;
    // The folds.
    const SEEDED: bool = true;

    fn ports(&self) -> Extra {
        let model = || if self.with_model { vec![Port::one("model", MODEL)] } else { Vec::new() };
        Extra { inputs: model(), outputs: model() }
    }

    fn check(&self) -> Vec<Invalid> {
        [self.check_method(), self.check_numbers()].concat()
    }

    fn check_ahead(&self, stage: &Ahead) -> Vec<Invalid> {
        ahead::check(&self.given(), stage)
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        let input = cx.input("predictions")?.clone();
        let scored = ScoredRows::read(&input.dir)?;
        let predictions = Predictions::read(&input.dir.join("predictions.parquet"))?;
        ensure!(
            predictions.classes == scored.labels.len(),
            "{} gives {} logits per row for the labels {}",
            input.stage,
            predictions.classes,
            scored.labels.join(", ")
        );
        match scored.split {
            Purpose::Test => bail!("{}", ahead::test_rows(cx.stage(), &input.stage)),
            Purpose::Train => cx.warn(format!(
                "`{}` has the predictions of training rows: a model that learned them is surer and more often right there than \
                 elsewhere, and so would be the decision; use validation rows",
                input.stage
            )),
            Purpose::Validation => {}
        }
        let rows = Labelled { logits: &predictions.logits, labels: &predictions.labels, classes: predictions.classes };
        rows.check()?;
        let fit = self.given().fit((&scored.labels, &scored.train_rows))?;
        let gain = out_of_fold(&fit, &rows, &predictions.ids, (self.folds, cx.seed(), self.abstain))?;
        let mut per_label = vec![0; rows.classes];
        rows.labels.iter().for_each(|&label| per_label[label as usize] += 1);
        let fitted_on =
            FittedOn { split: scored.split, rows: rows.labels.len(), per_label, model: scored.model.clone() };
        let decision = Decision {
            abstain: self.abstain,
            out_of_fold: Some(gain.clone()),
            fitted_on: Some(fitted_on),
            ..Decision::fit(&fit, &rows, &scored.labels)?
        };
        words::tell(cx, &decision, &gain);
        decision.write(&cx.output("decision")?)?;
        if self.with_model { self.write_model(cx, &decision) } else { Ok(()) }
    }
}

impl Decide {
    /// The model with the decision beside it.
    fn write_model(&self, cx: &Context, decision: &Decision) -> Result<()> {
        let model = cx.input("model")?;
        let theirs = Config::open(&model.dir)?.labels().to_vec();
        let beside = decision.clone().for_labels(&theirs)?;
        let fitted_on = decision.fitted_on.as_ref().and_then(|on| on.model.as_ref());
        if fitted_on.is_some_and(|of| *of != model.digest) {
            cx.warn(format!(
                "the predictions are those of another model than `{}`, which gets the decision",
                model.stage
            ));
        }
        let out = cx.output("model")?;
        let files = names(&model.dir)?;
        copy(&model.dir, &out, &files.iter().map(String::as_str).collect::<Vec<_>>())?;
        Lineage::open(&model.dir)
            .then(Step::of(self)?.note(format!("decides by {}", decision.describe())))
            .write(&out)?;
        beside.write(&out)
    }
}

/// The files of a folder.
fn names(dir: &Path) -> Result<Vec<String>> {
    let read = || -> std::io::Result<Vec<String>> {
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let mut all = read().with_context(|| format!("cannot read {}", dir.display()))?;
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str) -> Vec<String> {
        let decide: Decide = serde_json::from_str(text).unwrap();
        decide.check().into_iter().map(|invalid| format!("{}: {}", invalid.key, invalid.message)).collect()
    }

    #[test]
    fn the_method_follows_from_what_is_given() {
        let of = |text: &str| serde_json::from_str::<Decide>(text).unwrap().method();
        assert_eq!(of("{}"), Method::MacroF1);
        assert_eq!(of(r#"{"cost": [[0, 1], [2, 0]]}"#), Method::Cost);
        assert_eq!(of(r#"{"prior": {"a": 0.5, "b": 0.5}}"#), Method::Prior);
        assert_eq!(of(r#"{"cost": [[0, 1], [2, 0]], "prior": {"a": 0.5, "b": 0.5}}"#), Method::Cost);
        assert_eq!(
            says(r#"{"cost": [[0, 1], [2, 0]], "prior": {"a": 0.3333, "b": 0.6667}, "frequencies": {"a": 5, "b": 7}}"#),
            [""; 0]
        );
    }

    #[test]
    fn invalid_values_are_reported() {
        for (text, message) in [
            (r#"{"method": "cost"}"#, "method: the method `cost` needs the costs"),
            (r#"{"method": "prior"}"#, "method: the method `prior` needs the prior"),
            (
                r#"{"method": "covid", "prior": {"a": 1}}"#,
                "prior: `prior` is for the method `prior` or `cost`, but the method is `covid`",
            ),
            (
                r#"{"method": "argmax", "cost": [[0]]}"#,
                "cost: `cost` is for the method `cost`, but the method is `argmax`",
            ),
            (
                r#"{"thresholds": {"a": 0.5}}"#,
                "thresholds: `thresholds` is for the method `covid`, but the method is `macro-f1`",
            ),
            (
                r#"{"frequencies": {"a": 5}}"#,
                "frequencies: `frequencies` is for the method `covid` or `prior`, but the method is `macro-f1`",
            ),
            (r#"{"temperature": 0}"#, "temperature: temperature is 0; it must be above 0"),
            (r#"{"abstain": 60}"#, "abstain: abstain is 60; it is a probability, from 0 to 1"),
            (r#"{"folds": 1}"#, "folds: folds is 1; it must be from 2 to 100"),
            (
                r#"{"method": "covid", "thresholds": {"a": 40}}"#,
                "thresholds: the threshold of `a` is 40; it must be above 0 and at most 1",
            ),
            (
                r#"{"method": "covid", "frequencies": {"a": 0}}"#,
                "frequencies: the frequency of `a` is 0; it must be above 0",
            ),
            (r#"{"prior": {"a": 0.7, "b": 0.7}}"#, "prior: the shares of the prior sum to 1.4, not to 1"),
            (r#"{"cost": [[0, 1], [2]]}"#, "cost: `cost` has 2 rows, but row 2 has 1 values"),
        ] {
            assert_eq!(says(text), [message], "{text}");
        }
        assert_eq!(
            says(r#"{"prior": {"a": -0.5, "b": 1.5}}"#),
            [
                "prior: the prior of `a` is -0.5; it must be above 0 and at most 1",
                "prior: the prior of `b` is 1.5; it must be above 0 and at most 1"
            ]
        );
    }
}
