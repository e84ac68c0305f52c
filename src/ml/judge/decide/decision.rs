//! A decision: what turns the logits of a model into labels, as `decision.json` holds it.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::apply::{Decided, Fitted, decide};
use super::fit::{Fit, Method};
use super::gain::Gain;
use super::labelled::Labelled;
use super::posteriors::Prior;
use super::rule::Rule;
use crate::text::data::declare::spec::Purpose;

/// Turns logits into labels: softmax(logits / temperature), moved to other class frequencies if there is a prior; the rule
/// chooses a label; the row has none if the probability of that label is below `abstain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub method: Method,
    /// The labels in the order of all lists here.
    pub labels: Vec<String>,
    pub temperature: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prior: Option<Prior>,
    pub rule: Rule,
    /// The least probability of a label that is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstain: Option<f64>,
    /// None if it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_fold: Option<Gain>,
    /// None if it was written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitted_on: Option<FittedOn>,
}

/// The rows that a decision was fitted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedOn {
    pub split: Purpose,
    pub rows: usize,
    /// Rows of each label, `[C]`.
    pub per_label: Vec<u64>,
    /// The content digest of the model that gave the logits, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// What one row is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    pub label: usize,
    pub has_abstained: bool,
    /// Probabilities `[C]`, with temperature and prior.
    pub scores: Vec<f64>,
}

impl Decision {
    /// The file that holds it: the artifact, or beside a model.
    pub const FILE: &str = "decision.json";

    /// Fit on `rows`; `labels` name the classes.
    pub fn fit(fit: &Fit, rows: &Labelled, labels: &[String]) -> Result<Self> {
        rows.check()?;
        let Fitted { temperature, prior, rule } = fit.run(rows)?;
        let labels = labels.to_vec();
        let decision = Self {
            method: fit.method,
            labels,
            temperature,
            prior,
            rule,
            abstain: None,
            out_of_fold: None,
            fitted_on: None,
        };
        decision.check()?;
        Ok(decision)
    }

    /// `logits` `[N, C]` → labels and probabilities.
    pub fn apply(&self, logits: &[f32]) -> Decided {
        let fitted = Fitted { temperature: self.temperature, prior: self.prior.clone(), rule: self.rule.clone() };
        decide(&fitted, logits, (self.labels.len(), self.abstain))
    }

    /// `logits` `[C]` → a label and probabilities.
    pub fn apply_to_one(&self, logits: &[f32]) -> Given {
        let Decided { predicted, abstained, log_p } = self.apply(logits);
        Given {
            label: predicted[0] as usize,
            has_abstained: abstained[0],
            scores: log_p.iter().map(|l| l.exp()).collect(),
        }
    }

    /// The same for logits in the order of other labels; the names must be the same.
    pub fn for_labels(self, labels: &[String]) -> Result<Self> {
        if self.labels == labels {
            return Ok(self);
        }
        let place = |label: &String| self.labels.iter().position(|ours| ours == label);
        let order: Option<Vec<usize>> = labels.iter().map(place).collect();
        let Some(order) = order.filter(|order| order.len() == self.labels.len()) else {
            bail!(
                "the decision is for the labels {}, but the model gives {}; fit one on this model's predictions",
                self.labels.join(", "),
                labels.join(", ")
            )
        };
        let pick = |values: &[f64]| order.iter().map(|&from| values[from]).collect::<Vec<_>>();
        let prior = self.prior.as_ref().map(|p| Prior { expected: pick(&p.expected), trained: pick(&p.trained) });
        Ok(Self { rule: self.rule.in_order(&order), prior, labels: labels.to_vec(), ..self })
    }

    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(Self::FILE);
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Read the file of a folder.
    pub fn read(dir: &Path) -> Result<Self> {
        Self::read_file(&dir.join(Self::FILE))
    }

    pub fn read_file(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let read = || -> Result<Self> {
            let decision: Self = serde_json::from_slice(&bytes)?;
            decision.check()?;
            Ok(decision)
        };
        read().with_context(|| format!("{} does not hold a decision", path.display()))
    }

    /// The decision in a folder; None if it has none.
    pub fn beside(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(Self::FILE);
        if path.is_file() { Self::read_file(&path).map(Some) } else { Ok(None) }
    }

    /// In a few words: `macro-f1 at temperature 1.34, abstains below 0.6`.
    pub fn describe(&self) -> String {
        let abstain = self.abstain.map_or(String::new(), |least| format!(", abstains below {least}"));
        format!("{} at temperature {:.4}{abstain}", self.method.name(), self.temperature)
    }

    fn check(&self) -> Result<()> {
        let distinct: std::collections::HashSet<&String> = self.labels.iter().collect();
        ensure!(self.labels.len() > 1 && distinct.len() == self.labels.len(), "it needs at least two distinct labels");
        ensure!(
            self.temperature.is_finite() && self.temperature > 0.0,
            "its temperature is {}; it must be above 0",
            self.temperature
        );
        ensure!(self.abstain.is_none_or(|least| (0.0..=1.0).contains(&least)), "its `abstain` is not from 0 to 1");
        self.rule.check(self.labels.len())?;
        self.prior.iter().try_for_each(|prior| prior.check(&self.labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision() -> Decision {
        Decision {
            method: Method::Covid,
            labels: ["no", "maybe", "yes"].map(String::from).to_vec(),
            temperature: 1.3,
            prior: Some(Prior { expected: vec![0.2, 0.3, 0.5], trained: vec![0.4, 0.4, 0.2] }),
            rule: Rule::Thresholds { thresholds: vec![0.1, 0.2, 0.3], frequencies: vec![0.4, 0.4, 0.2] },
            abstain: Some(0.6),
            out_of_fold: None,
            fitted_on: None,
        }
    }

    #[test]
    fn it_is_read_back_to_the_bit_and_damage_is_said() {
        let dir = tempfile::tempdir().unwrap();
        decision().write(dir.path()).unwrap();
        assert_eq!(Decision::beside(dir.path()).unwrap(), Some(decision()));
        let path = dir.path().join(Decision::FILE);
        let good = std::fs::read_to_string(&path).unwrap();
        let says = |from: &str, to: &str| {
            std::fs::write(&path, good.replace(from, to)).unwrap();
            let text = format!("{:#}", Decision::read(dir.path()).unwrap_err());
            text.split_once(" does not hold a decision: ").unwrap().1.to_owned()
        };
        assert_eq!(says("1.3,", "0,"), "its temperature is 0; it must be above 0");
        assert_eq!(says("\"maybe\",", ""), "3 thresholds for 2 labels");
        assert_eq!(says("0.6", "6"), "its `abstain` is not from 0 to 1");
        assert_eq!(says("\"maybe\"", "\"no\""), "it needs at least two distinct labels");
        assert!(says("\"temperature\"", "\"heat\"").starts_with("missing field `temperature`"));
    }

    #[test]
    fn labels_are_matched_by_name_or_refused() {
        let logits = [0.3, 1.2, 0.9];
        let here = decision().apply_to_one(&logits);
        let order = ["yes", "no", "maybe"].map(String::from);
        let turned = decision().for_labels(&order).unwrap().apply_to_one(&[0.9, 0.3, 1.2]);
        assert_eq!(order[turned.label], decision().labels[here.label]);
        assert!((turned.scores[0] - here.scores[2]).abs() < 1e-12);
        let error = decision().for_labels(&["no", "yes"].map(String::from)).unwrap_err().to_string();
        assert_eq!(
            error,
            "the decision is for the labels no, maybe, yes, but the model gives no, yes; fit one on this model's predictions"
        );
    }

    #[test]
    fn a_row_whose_label_is_not_probable_enough_has_none() {
        let mut d = decision();
        (d.prior, d.rule, d.temperature) = (None, Rule::Argmax, 1.0);
        let all = d.apply(&[2.0, 0.0, 0.0, 1.0, 0.9, 0.0]);
        assert_eq!((all.predicted, all.abstained), (vec![0, 0], vec![false, true]));
    }
}
