//! All numbers of a corpus together.

use std::collections::HashMap;

use anyhow::{Result, bail, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::days::Days;
use super::duplicates::Duplicates;
use super::lengths::{LIMITS, Measured, Whose};
use super::vocabulary::{CloudWord, Typical, Vocabulary};
use crate::compute::numbers::thousands;
use crate::text::data::{Corpus, Example, Split, Tokens};
use crate::text::tokenizer::{Texts, Tokenizer};
use crate::text::words::words;
use crate::watch::{Interrupted, Watch};

/// What to look for.
#[derive(Clone)]
pub struct Options<'a> {
    /// The similarity from which on two texts are near-duplicates.
    pub near: f64,
    /// Typical words per label.
    pub words: usize,
    /// Words that the cloud leaves out.
    pub ignore: &'a [String],
    /// The tokens of the corpus, and their tokenizer.
    pub tokens: Option<(&'a Tokens, &'a Tokenizer)>,
}

/// What a corpus looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    pub rows: u64,
    pub labels: Vec<String>,
    /// Whether rows have two texts; both count.
    pub pairs: bool,
    /// Train, validation, test.
    pub splits: Vec<SplitRows>,
    /// In alphabetical order.
    pub sources: Vec<SourceRows>,
    /// None if no row has a date.
    pub days: Option<Days>,
    /// In words; and in tokens if there are any.
    pub lengths: Vec<Measured>,
    /// The limit of the tokens that were given.
    pub max_length: Option<usize>,
    /// Different words in the training rows.
    pub vocabulary: u64,
    /// By label, from the training rows.
    pub typical: Vec<Typical>,
    /// From the training rows.
    pub cloud: Vec<CloudWord>,
    pub duplicates: Duplicates,
}

/// The rows of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitRows {
    pub name: String,
    pub rows: u64,
    /// In the order of the labels.
    pub labels: Vec<u64>,
}

/// The rows of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceRows {
    pub name: String,
    pub rows: u64,
    /// In the order of the labels.
    pub labels: Vec<u64>,
    /// First and last day, if it has dates.
    pub dates: Option<(String, String)>,
}

/// Look at all rows of a corpus. Words are counted in the training rows alone: who chooses words or labels by them has not seen the test rows.
///
/// Fails if tokens are given and are of other rows.
pub fn look(corpus: &Corpus, options: &Options, watch: &dyn Watch) -> Result<Look> {
    let splits = [("train", &corpus.train), ("validation", &corpus.validation), ("test", &corpus.test)];
    let rows: Vec<(u8, &Example)> =
        splits.iter().zip(0..).flat_map(|((_, rows), split)| rows.iter().map(move |row| (split, row))).collect();
    let labels = corpus.labels.len();
    let (sources, source) = sources(&rows, labels);
    let label: Vec<u32> = rows.iter().map(|(_, row)| row.label).collect();
    let whose = Whose { label: &label, labels, source: &source, sources: sources.len() };
    let mut limits = LIMITS.to_vec();
    limits.extend(options.tokens.map(|(tokens, _)| tokens.max_length));
    limits.sort_unstable();
    limits.dedup();

    let count = |row: &Example| words(&row.text).count() + row.pair.as_deref().map_or(0, |pair| words(pair).count());
    let in_words: Vec<usize> = rows.par_iter().map(|(_, row)| count(row)).collect();
    let mut lengths = vec![Measured::of("words", &in_words, &whose, &limits)];
    stop(watch)?;
    if let Some((tokens, tokenizer)) = options.tokens {
        let in_tokens = in_tokens(corpus, tokens, tokenizer, watch)?;
        lengths.push(Measured::of("tokens", &in_tokens, &whose, &limits));
    }
    stop(watch)?;
    let texts: Vec<(&str, u32)> = corpus
        .train
        .iter()
        .flat_map(|row| std::iter::once(row.text.as_str()).chain(row.pair.as_deref()).map(|text| (text, row.label)))
        .collect();
    let vocabulary = Vocabulary::count(&texts, labels);
    stop(watch)?;
    // Both texts of a pair, one after the other.
    let joined: Vec<String> = rows
        .iter()
        .map(|(_, row)| row.pair.as_ref().map(|pair| format!("{} {pair}", row.text)).unwrap_or_default())
        .collect();
    let whole: Vec<&str> = rows
        .iter()
        .zip(&joined)
        .map(|((_, row), joined)| if row.pair.is_some() { joined.as_str() } else { row.text.as_str() })
        .collect();
    let kept: Vec<(u8, u32)> = rows.iter().map(|(split, row)| (*split, row.label)).collect();
    let duplicates = Duplicates::of(&whole, &kept, options.near);
    stop(watch)?;
    Ok(Look {
        rows: rows.len() as u64,
        labels: corpus.labels.clone(),
        pairs: corpus.has_pairs(),
        splits: splits.iter().map(|(name, rows)| SplitRows::of(name, rows, labels)).collect(),
        sources,
        days: Days::of(rows.iter().map(|(_, row)| (row.day, row.label)), labels),
        lengths,
        max_length: options.tokens.map(|(tokens, _)| tokens.max_length),
        vocabulary: vocabulary.len() as u64,
        typical: vocabulary.typical(&corpus.labels, options.words),
        cloud: vocabulary.cloud(options.ignore),
        duplicates,
    })
}

fn stop(watch: &dyn Watch) -> Result<()> {
    if watch.stopped() { Err(Interrupted.into()) } else { Ok(()) }
}

impl SplitRows {
    fn of(name: &str, rows: &[Example], labels: usize) -> Self {
        let mut counts = vec![0; labels];
        rows.iter().for_each(|row| counts[row.label as usize] += 1);
        SplitRows { name: name.to_owned(), rows: rows.len() as u64, labels: counts }
    }
}

/// The sources, and the number of that of each row.
fn sources(rows: &[(u8, &Example)], labels: usize) -> (Vec<SourceRows>, Vec<usize>) {
    let mut names: Vec<&str> = rows.iter().map(|(_, row)| row.source.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let known: HashMap<&str, usize> = names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
    let of: Vec<usize> = rows.iter().map(|(_, row)| known[row.source.as_str()]).collect();
    let mut all: Vec<SourceRows> = names
        .iter()
        .map(|name| SourceRows { name: (*name).to_owned(), rows: 0, labels: vec![0; labels], dates: None })
        .collect();
    let mut dates: Vec<Option<(i32, i32)>> = vec![None; all.len()];
    for ((_, row), source) in rows.iter().zip(&of) {
        all[*source].rows += 1;
        all[*source].labels[row.label as usize] += 1;
        if let Some(day) = row.day {
            let (first, last) = dates[*source].unwrap_or((day, day));
            dates[*source] = Some((first.min(day), last.max(day)));
        }
    }
    let iso = crate::text::data::read::date::iso;
    all.iter_mut()
        .zip(dates)
        .for_each(|(source, dates)| source.dates = dates.map(|(first, last)| (iso(first), iso(last))));
    (all, of)
}

/// The lengths of the rows before they were cut, in the order of the splits.
fn in_tokens(corpus: &Corpus, tokens: &Tokens, tokenizer: &Tokenizer, watch: &dyn Watch) -> Result<Vec<usize>> {
    let mut lengths = Vec::new();
    let splits = [
        ("training", &corpus.train, &tokens.train),
        ("validation", &corpus.validation, &tokens.validation),
        ("test", &corpus.test, &tokens.test),
    ];
    for (name, rows, split) in splits {
        same_rows(name, rows, split)?;
        let texts: Vec<Texts> =
            rows.iter().map(|row| Texts { first: &row.text, second: row.pair.as_deref() }).collect();
        let encoded = tokenizer.encode_rows(&texts, tokens.max_length, watch)?;
        let start = lengths.len();
        lengths.extend(encoded.iter().map(|row| row.full));
        if let Some(at) = (0..rows.len()).find(|at| lengths[start + at].min(tokens.max_length) != split.row(*at).len())
        {
            bail!(
                "row {} has {} tokens where its text gives {}: `tokens` was made from other texts than `corpus` has",
                split.id(at),
                split.row(at).len(),
                lengths[start + at].min(tokens.max_length)
            );
        }
    }
    Ok(lengths)
}

fn same_rows(name: &str, rows: &[Example], split: &Split) -> Result<()> {
    let advice = "wire the corpus that the tokens were made from";
    ensure!(
        rows.len() == split.len(),
        "the corpus has {} {name} rows and the tokens have {}: {advice}",
        thousands(rows.len() as u64),
        thousands(split.len() as u64)
    );
    if let Some(at) = (0..rows.len()).find(|at| rows[*at].id != split.id(*at)) {
        bail!(
            "{name} row {} is `{}` in the corpus and `{}` in the tokens: {advice}",
            at + 1,
            rows[at].id,
            split.id(at)
        );
    }
    Ok(())
}
