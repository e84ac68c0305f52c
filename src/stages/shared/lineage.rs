//! How a model was made, step by step: `lineage.json`, from which its model card is written.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use pipe_engine::contract::kind::Stage;
use pipe_ml::hub;
use pipe_ml::text::data::{Split, Tokens};
use pipe_ml::train::fit;

/// Where a model comes from, and the stages that made it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lineage {
    /// The model that the first step started from: `hf:OWNER/NAME@REVISION`, or a folder; none if it is not known.
    pub base: Option<String>,
    /// In the order in which they ran.
    pub steps: Vec<Step>,
}

/// One stage that made or changed a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// The kind of the stage.
    pub kind: String,
    /// The parameters that its result depends on, without paths.
    pub settings: BTreeMap<String, Value>,
    /// The rows that it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Rows>,
    /// The scores of the model that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<Scores>,
    /// What it did, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The number of rows of each label, by split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rows {
    pub labels: Vec<String>,
    pub train: Vec<u64>,
    pub validation: Vec<u64>,
    pub test: Vec<u64>,
}

/// How good the kept model was on the validation rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scores {
    pub rows: usize,
    /// Epochs done at that point.
    pub epoch: f64,
    pub accuracy: f64,
    pub macro_f1: f64,
    pub macro_auc: Option<f64>,
    pub loss: f64,
}

/// Parameters that hold paths: they say where files were on a machine, and the base has a field of its own.
const PATHS: [&str; 5] = ["base", "student", "adapter", "tokenizer", "model"];

impl Step {
    /// A step of this stage, with its parameters.
    pub fn of<S: Stage>(stage: &S) -> Result<Self> {
        let mut settings = BTreeMap::new();
        if let Value::Object(all) = stage.to_json()? {
            let is_setting = |name: &String, value: &Value| {
                !value.is_null() && !PATHS.contains(&name.as_str()) && !S::OPERATIONAL.contains(&name.as_str())
            };
            settings.extend(all.into_iter().filter(|(name, value)| is_setting(name, value)));
        }
        Ok(Self { kind: S::KIND.into(), settings, rows: None, scores: None, notes: Vec::new() })
    }

    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }
}

impl Scores {
    /// Those of the model that a fit kept; none without validation rows.
    pub fn of(training: &fit::Training) -> Option<Self> {
        let best = training.best?;
        let kept = training.evaluations.iter().find(|evaluation| evaluation.step == best.step)?;
        let metrics = kept.validation.as_ref()?;
        Some(Self {
            rows: metrics.rows,
            epoch: best.epoch,
            accuracy: metrics.accuracy,
            macro_f1: metrics.macro_f1,
            macro_auc: metrics.macro_auc,
            loss: metrics.loss,
        })
    }

    /// Each with its name, and the name of the metric on the Hub.
    pub fn listed(&self) -> impl Iterator<Item = (&'static str, &'static str, f64)> {
        let auc = self.macro_auc.map(|auc| ("macro AUC", "roc_auc", auc));
        [("accuracy", "accuracy", self.accuracy), ("macro F1", "f1", self.macro_f1)]
            .into_iter()
            .chain(auc)
            .chain([("loss", "loss", self.loss)])
    }
}

impl Rows {
    pub fn of(tokens: &Tokens) -> Self {
        let count = |split: &Split| {
            let mut rows = vec![0; tokens.labels.len()];
            split.labels().iter().for_each(|label| rows[*label as usize] += 1);
            rows
        };
        Self {
            labels: tokens.labels.clone(),
            train: count(&tokens.train),
            validation: count(&tokens.validation),
            test: count(&tokens.test),
        }
    }
}

impl Lineage {
    pub(super) const FILE: &str = "lineage.json";

    /// That of a model artifact; empty if nothing recorded it.
    pub fn open(dir: &Path) -> Self {
        // A folder from elsewhere may have a file of this name. It describes, and nothing depends on it.
        let read = std::fs::read(dir.join(Self::FILE)).ok();
        read.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// That of a model which a stage names: `hf:OWNER/NAME@REVISION`, or a folder, whose files are in `dir`.
    pub fn of_base(reference: &str, dir: &Path) -> Self {
        let known = Self::open(dir);
        if known != Self::default() {
            return known;
        }
        let path = Path::new(reference);
        let name = if hub::is_reference(reference) || path.is_relative() {
            reference.to_owned()
        } else {
            path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        };
        Self { base: Some(name), steps: Vec::new() }
    }

    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The kinds of its steps after its base: `train from hf:roberta-base, then prune`.
    pub fn describe(&self) -> String {
        let kinds: Vec<&str> = self.steps.iter().map(|step| step.kind.as_str()).collect();
        match (&self.base, kinds.as_slice()) {
            (None, []) => "a model of unknown origin".into(),
            (Some(base), []) => base.clone(),
            (None, kinds) => kinds.join(", then "),
            (Some(base), [first, rest @ ..]) => {
                let rest: String = rest.iter().map(|kind| format!(", then {kind}")).collect();
                format!("{first} from {base}{rest}")
            }
        }
    }

    /// Add a line about the last step to the artifact that it made.
    pub fn note(dir: &Path, text: impl Into<String>) -> Result<()> {
        let mut lineage = Self::open(dir);
        if let Some(step) = lineage.steps.last_mut() {
            step.notes.push(text.into());
        }
        lineage.write(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::quantize::Quantize;

    #[test]
    fn paths_of_a_machine_stay_out() {
        let dir = tempfile::tempdir().unwrap();
        let base = |reference: &str| Lineage::of_base(reference, dir.path()).base.unwrap();
        assert_eq!(base("hf:a/b@v2"), "hf:a/b@v2");
        assert_eq!(base("models/mine"), "models/mine");
        assert_eq!(base("/home/ann/models/mine"), "mine");
    }

    #[test]
    fn what_is_written_is_read_back_and_continued() {
        let dir = tempfile::tempdir().unwrap();
        let config = r#"{"model_type": "bert", "id2label": {"0": "no", "1": "yes"}}"#;
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        assert_eq!(Lineage::open(dir.path()), Lineage::default());
        let quantize: Quantize = serde_json::from_str(r#"{"scheme": "int8"}"#).unwrap();
        let step = Step::of(&quantize).unwrap().note("0.27 of the size");
        assert_eq!(step.settings.get("scheme"), Some(&"int8".into()));
        let lineage = Lineage::of_base("hf:a/b", dir.path()).then(step);
        lineage.write(dir.path()).unwrap();
        assert_eq!(Lineage::open(dir.path()), lineage);
        // A folder that knows where it comes from is not called by the name of the folder.
        assert_eq!(Lineage::of_base("models/mine", dir.path()), lineage);
        assert_eq!(lineage.describe(), "quantize from hf:a/b");
        assert_eq!(Lineage::default().describe(), "a model of unknown origin");
    }
}
