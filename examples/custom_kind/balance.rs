//! The kind `balance`: stop a pipeline whose corpus has far more rows of one class than of another.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use pipe::kind::types::{CORPUS, TABLE};
use pipe::kind::{Context, Invalid, Port, Stage};

/// Counts the training rows of each class, writes them to `balance.csv`, and fails if the largest class has too many
/// times the rows of the smallest.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Balance {
    /// How many times the rows of the smallest class the largest may have, at least 1.
    limit: f64,
}

impl Stage for Balance {
    const KIND: &'static str = "balance";
    const VERSION: u32 = 1; // raise it when the same inputs give another result
    const MAIN: Option<&'static str> = Some("limit"); // balance@3
    const INPUTS: &'static [Port] = &[Port::one("corpus", CORPUS)];
    const OUTPUTS: &'static [Port] = &[Port::one("table", TABLE)];

    fn check(&self) -> Vec<Invalid> {
        let is_valid = self.limit >= 1.0;
        let invalid = || Invalid::new("limit", format!("limit is {}; it must be at least 1", self.limit));
        (!is_valid).then(invalid).into_iter().collect()
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        let path = cx.input("corpus")?.dir.join("corpus.json");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let corpus: Corpus =
            serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?;
        let rows = &corpus.report.splits.train.labels;
        let (least, most) = (rows.iter().min().copied().unwrap_or(0), rows.iter().max().copied().unwrap_or(0));
        let ratio = most as f64 / least as f64;
        ensure!(
            ratio <= self.limit,
            "the largest class has {most} training rows, the smallest {least}; the limit is {} times as many",
            self.limit
        );
        let mut table = csv::Writer::from_path(cx.output("table")?.join("balance.csv"))?;
        table.write_record(["label", "rows"])?;
        for (label, rows) in corpus.labels.iter().zip(rows) {
            table.write_record([label, &rows.to_string()])?;
        }
        table.flush()?;
        cx.note(format!("{} classes of {least} to {most} training rows", rows.len()));
        cx.fact("ratio", ratio);
        Ok(())
    }
}

/// What is used of `corpus.json`.
#[derive(Deserialize)]
struct Corpus {
    labels: Vec<String>,
    report: Report,
}

#[derive(Deserialize)]
struct Report {
    splits: Splits,
}

#[derive(Deserialize)]
struct Splits {
    train: Split,
}

/// The number of rows of each label.
#[derive(Deserialize)]
struct Split {
    labels: Vec<u64>,
}
