//! Turns a corpus into token ids, and measures the lengths of its texts.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::corpus::{Corpus, Example};
use super::tokens::{Split, TokenRow, Tokens};
use crate::text::tokenizer::{Texts, Tokenizer};
use crate::watch::Watch;

/// Lengths of the texts in tokens, per split; written as `lengths.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenReport {
    pub max_length: usize,
    /// Number of ids of the tokenizer.
    pub vocabulary: usize,
    pub train: Lengths,
    pub validation: Lengths,
    pub test: Lengths,
}

/// Lengths in tokens before truncation, special tokens included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    pub rows: u64,
    /// Number of stored tokens, that is, after truncation.
    pub tokens: u64,
    pub mean: f64,
    pub median: usize,
    pub p95: usize,
    pub p99: usize,
    pub max: usize,
    /// Number of rows longer than `max_length`, which were truncated.
    pub truncated: u64,
}

/// Encode every row; at most `max_length` ids each, special tokens included.
pub fn tokenize(
    corpus: &Corpus,
    tokenizer: &Path,
    max_length: usize,
    watch: &dyn Watch,
) -> Result<(Tokens, TokenReport)> {
    let tokenizer = Tokenizer::open(tokenizer)?;
    let split = |rows: &[Example]| encode(&tokenizer, rows, max_length, watch);
    let (train, train_lengths) = split(&corpus.train)?;
    let (validation, validation_lengths) = split(&corpus.validation)?;
    let (test, test_lengths) = split(&corpus.test)?;
    let report = TokenReport {
        max_length,
        vocabulary: tokenizer.vocabulary(),
        train: train_lengths,
        validation: validation_lengths,
        test: test_lengths,
    };
    let tokens =
        Tokens { labels: corpus.labels.clone(), pad_id: tokenizer.pad_id(), max_length, train, validation, test };
    Ok((tokens, report))
}

fn encode(tokenizer: &Tokenizer, rows: &[Example], max_length: usize, watch: &dyn Watch) -> Result<(Split, Lengths)> {
    let texts: Vec<Texts> = rows.iter().map(|row| Texts { first: &row.text, second: row.pair.as_deref() }).collect();
    let encoded = tokenizer.encode_rows(&texts, max_length, watch)?;
    let lengths = Lengths::of(encoded.iter().map(|row| row.full).collect(), max_length);
    let mut split = Split::default();
    for (row, encoded) in rows.iter().zip(encoded) {
        let (label, row_id) = (row.label, row.id.clone());
        split.push_row(TokenRow { ids: &encoded.ids, types: &encoded.types, label, row_id });
    }
    split.set_sources(rows.iter().map(|row| row.source.as_str()));
    Ok((split, lengths))
}

impl Lengths {
    fn of(mut lengths: Vec<usize>, max_length: usize) -> Self {
        lengths.sort_unstable();
        // Nearest rank: the smallest length that `share` of the rows do not exceed.
        let rank = |share: f64| {
            let at = ((lengths.len() as f64 * share).ceil() as usize).saturating_sub(1);
            lengths.get(at).copied().unwrap_or(0)
        };
        let rows = lengths.len();
        Lengths {
            rows: rows as u64,
            tokens: lengths.iter().map(|length| (*length).min(max_length) as u64).sum(),
            mean: if rows == 0 { 0.0 } else { lengths.iter().sum::<usize>() as f64 / rows as f64 },
            median: rank(0.5),
            p95: rank(0.95),
            p99: rank(0.99),
            max: lengths.last().copied().unwrap_or(0),
            truncated: lengths.iter().filter(|length| **length > max_length).count() as u64,
        }
    }
}

impl TokenReport {
    /// Write `lengths.json` beside the tokens.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join("lengths.json");
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::data::Report;
    use crate::watch::Silent;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let lengths = Lengths::of((1..=100).rev().collect(), 90);
        assert_eq!((lengths.median, lengths.p95, lengths.p99, lengths.max), (50, 95, 99, 100));
        assert_eq!((lengths.mean, lengths.truncated, lengths.tokens), (50.5, 10, 5050 - 55));
        assert_eq!(Lengths::of(Vec::new(), 90), Lengths::default());
    }

    #[test]
    fn rows_keep_their_order_labels_and_ids() {
        let row = |id: &str, text: &str, label| Example {
            id: id.to_owned(),
            text: text.to_owned(),
            pair: None,
            label,
            source: "train".to_owned(),
            day: None,
            made: None,
        };
        let corpus = Corpus {
            labels: vec!["no".to_owned(), "yes".to_owned()],
            train: (0..2000).map(|n| row(&n.to_string(), &"good ".repeat(n % 7 + 1), n as u32 % 2)).collect(),
            validation: Vec::new(),
            test: vec![row("t", "so good", 1)],
            report: Report::default(),
            cleaning: None,
        };
        let tiny = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("models/tiny-roberta");
        let (tokens, report) = tokenize(&corpus, &tiny, 6, &Silent).unwrap();
        let alone = Tokenizer::open(&tiny).unwrap();
        for (at, row) in corpus.train.iter().enumerate() {
            assert_eq!(tokens.train.row(at), alone.encode(&row.text, 6).unwrap().ids);
            assert_eq!((tokens.train.id(at), tokens.train.label(at)), (row.id.as_str(), row.label));
        }
        assert_eq!((report.train.rows, report.test.rows, report.validation.rows), (2000, 1, 0));
        assert_eq!(report.train.tokens, tokens.train.tokens() as u64);
        assert!(report.train.truncated > 0);
    }
}
