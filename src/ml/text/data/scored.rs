//! What the rows of the predictions artifact are: their split, their labels, and the rows that a model could learn from.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::declare::spec::Purpose;
use super::tokens::Tokens;

/// `predictions.json`, beside `predictions.parquet`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredRows {
    pub split: Purpose,
    /// Names of the labels, in the order of the logits.
    pub labels: Vec<String>,
    /// How many training rows of the same tokens have each label, `[C]`; all 0 if there are none.
    pub train_rows: Vec<u64>,
    /// The content digest of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl ScoredRows {
    const FILE: &str = "predictions.json";

    /// Rows of `split` of these tokens.
    pub fn of(tokens: &Tokens, split: Purpose, model: &str) -> Self {
        let mut train_rows = vec![0; tokens.labels.len()];
        for label in tokens.train.labels() {
            if let Some(rows) = train_rows.get_mut(*label as usize) {
                *rows += 1;
            }
        }
        Self { split, labels: tokens.labels.clone(), train_rows, model: Some(model.into()) }
    }

    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(Self::FILE);
        std::fs::write(&path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }

    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(Self::FILE);
        let bytes = std::fs::read(&path)
            .with_context(|| format!("cannot read {}, which says what the predictions are of", path.display()))?;
        let rows: Self = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} was not written by `evaluate`", path.display()))?;
        ensure!(
            rows.labels.len() == rows.train_rows.len(),
            "{} has {} labels, but counts of {}",
            path.display(),
            rows.labels.len(),
            rows.train_rows.len()
        );
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_what_is_missing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = format!("{:#}", ScoredRows::read(dir.path()).unwrap_err());
        assert!(error.contains("predictions.json, which says what the predictions are of: "), "{error}");
        let labels = vec!["no".into(), "yes".into()];
        let rows = ScoredRows { split: Purpose::Validation, labels, train_rows: vec![5, 7], model: None };
        rows.write(dir.path()).unwrap();
        assert_eq!(ScoredRows::read(dir.path()).unwrap(), rows);
        ScoredRows { train_rows: vec![1], ..rows }.write(dir.path()).unwrap();
        let error = ScoredRows::read(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("predictions.json has 2 labels, but counts of 1"), "{error}");
    }
}
