//! The predicted rows with their texts.

use std::collections::HashMap;

use anyhow::{Result, bail, ensure};

use pipe_ml::judge::errors::disagree::Disagreement;
use pipe_ml::judge::errors::scored::Scored;
use pipe_ml::judge::errors::slices::Judged;
use pipe_ml::text::data::{Corpus, Example};

/// How many ids a message lists.
const LISTED: usize = 3;
/// The help of messages about rows that do not fit.
const ADVICE: &str = "wire `in.corpus` to the corpus from which the predicted rows were tokenized";

/// Predictions, and the example of each.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    pub labels: &'a [String],
    pub scored: Scored,
    /// In the order of the predictions.
    pub examples: Vec<&'a Example>,
    /// How many are of the training, validation and test rows.
    pub splits: [usize; 3],
}

/// A further model, and the rows about which it differs from the baseline.
#[derive(Debug)]
pub(super) struct Variant {
    pub name: String,
    pub scored: Scored,
    pub found: Vec<Disagreement>,
}

impl<'a> Rows<'a> {
    /// Find the example of each prediction by its id. Fails if the corpus is another one.
    pub(super) fn of(corpus: &'a Corpus, scored: Scored) -> Result<Self> {
        ensure!(!scored.is_empty(), "there are no predicted rows");
        ensure!(
            scored.classes == corpus.labels.len(),
            "the predictions have {} classes, but the corpus has {} labels ({}); {ADVICE}",
            scored.classes,
            corpus.labels.len(),
            corpus.labels.join(", ")
        );
        let all = [&corpus.train, &corpus.validation, &corpus.test];
        let splits = all.into_iter().enumerate();
        let known: HashMap<&str, (usize, &Example)> = splits
            .flat_map(|(split, rows)| rows.iter().map(move |example| (example.id.as_str(), (split, example))))
            .collect();
        let unknown: Vec<&str> = scored.ids.iter().map(String::as_str).filter(|id| !known.contains_key(id)).collect();
        if !unknown.is_empty() {
            let shown: Vec<String> = unknown.iter().take(LISTED).map(|id| format!("`{id}`")).collect();
            let more = if unknown.len() > LISTED { ", …" } else { "" };
            bail!(
                "{} of {} predicted rows are not in the corpus: {}{more}; {ADVICE}",
                unknown.len(),
                scored.len(),
                shown.join(", ")
            );
        }
        let mut counts = [0; 3];
        let mut examples = Vec::with_capacity(scored.len());
        for (row, id) in scored.ids.iter().enumerate() {
            let Some((split, example)) = known.get(id.as_str()) else { continue };
            let label = scored.labels[row];
            ensure!(
                example.label == label,
                "row `{id}` has the label `{}` in the corpus, but `{}` in the predictions; {ADVICE}",
                corpus.labels[example.label as usize],
                corpus.labels[label as usize]
            );
            counts[*split] += 1;
            examples.push(*example);
        }
        Ok(Self { labels: &corpus.labels, scored, examples, splits: counts })
    }

    /// Which rows these are.
    pub(super) fn notes(&self) -> Vec<String> {
        let named = self.splits.iter().zip(["training", "validation", "test"]).filter(|(count, _)| **count > 0);
        let words: Vec<String> = named.map(|(count, name)| format!("{count} {name}")).collect();
        vec![format!("rows: {}", words.join(", "))]
    }

    /// A model defends the labels that it was trained on.
    pub(super) fn warning(&self) -> Option<String> {
        let [train, ..] = self.splits;
        (train > 0).then(|| {
            format!(
                "{train} of {} rows are training rows: a model that was trained on their labels predicts them too well, so their \
                 errors are too few and suspected labels are not out-of-sample; use validation or test rows",
                self.scored.len()
            )
        })
    }

    pub(super) fn judged(&self) -> Vec<Judged<'a>> {
        let judged = |(row, example): (usize, &&'a Example)| Judged { example, is_right: self.scored.is_right(row) };
        self.examples.iter().enumerate().map(judged).collect()
    }

    /// The wrong rows, the most confident first; of equal ones the earlier first.
    pub(super) fn wrong(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.scored.len()).filter(|row| !self.scored.is_right(*row)).collect();
        rows.sort_by(|a, b| self.scored.confidence(*b).total_cmp(&self.scored.confidence(*a)));
        rows
    }

    pub(super) fn label(&self, class: u32) -> &'a str {
        self.labels.get(class as usize).map_or("", String::as_str)
    }

    /// The text, and the second text of a pair after a bar.
    pub(super) fn text(&self, row: usize) -> String {
        let example = self.examples[row];
        example.pair.as_ref().map_or(example.text.clone(), |pair| format!("{} | {pair}", example.text))
    }
}
