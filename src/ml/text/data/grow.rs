//! Adds made examples to the training rows of a corpus, and counts them.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use rayon::prelude::*;

use super::clean::text::row_key;
use super::corpus::{Corpus, Example};
use super::made::Making;
use super::split::rank;
use crate::compute::numbers::{rows, thousands};
use crate::watch::{Interrupted, Progress, Watch};

/// Copies of one row that are tried before a class counts as exhausted.
const MOST_COPIES: u64 = 10_000;
/// Rows between two looks at the watch.
const CHUNK: usize = 4096;

/// How many examples to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many of each row.
    Copies(u64),
    /// As many as a class lacks of this number of rows.
    UpTo(usize),
}

/// What was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grown {
    /// Examples by operation.
    pub by_operation: BTreeMap<String, u64>,
    /// Rows that copies were made of, or tried.
    pub origins: u64,
    /// Copies that could not be made, because no operation changes the text.
    pub unchanged: u64,
    /// Copies left out because their text is one of the corpus already.
    pub known: u64,
}

impl Grown {
    pub fn made(&self) -> u64 {
        self.by_operation.values().sum()
    }

    /// `300 rows made of 300: 50 delete, 250 swap; 2 left out …`.
    pub fn describe(&self) -> String {
        let by: Vec<String> = self.by_operation.iter().map(|(name, n)| format!("{} {name}", thousands(*n))).collect();
        let by = if by.is_empty() { String::new() } else { format!(": {}", by.join(", ")) };
        let mut text = format!("{} made of {}{by}", rows(self.made()), thousands(self.origins));
        if self.known > 0 {
            text += &format!("; {} left out, because their texts are in the corpus already", thousands(self.known));
        }
        if self.unchanged > 0 {
            text += &format!("; {} not made, because no operation changes their texts", thousands(self.unchanged));
        }
        text
    }

    fn add(&mut self, other: Self) {
        other.by_operation.into_iter().for_each(|(name, n)| *self.by_operation.entry(name).or_default() += n);
        self.origins += other.origins;
        self.unchanged += other.unchanged;
        self.known += other.known;
    }
}

/// Makes examples of the training rows. Validation and test rows are only looked at: no made text is one of theirs.
pub struct Grower<'a> {
    making: &'a Making,
    seed: u64,
    /// The texts of all splits.
    known: HashSet<String>,
    ids: HashSet<String>,
    /// How many copies of a row there are already.
    copies: HashMap<String, u64>,
}

impl<'a> Grower<'a> {
    pub fn new(making: &'a Making, seed: u64, corpus: &Corpus) -> Self {
        let all = || [&corpus.train, &corpus.validation, &corpus.test].into_iter().flatten();
        let mut copies: HashMap<String, u64> = HashMap::new();
        for made in all().filter_map(|row| row.made.as_ref()) {
            *copies.entry(made.origin.clone()).or_default() += 1;
        }
        let known = match making {
            Making::Repeat => HashSet::new(),
            Making::Augment(_) => all().map(|row| row_key(&row.text, row.pair.as_deref())).collect(),
        };
        Self { making, seed, known, ids: all().map(|row| row.id.clone()).collect(), copies }
    }

    /// Add made examples of these classes to the end of `train`. Rows that were made themselves are no origins.
    pub fn grow(
        &mut self,
        train: &mut Vec<Example>,
        classes: &[u32],
        amount: Amount,
        watch: &dyn Watch,
    ) -> Result<Grown> {
        let is_origin = |row: &&Example| row.made.is_none() && classes.contains(&row.label);
        let mut made = Vec::new();
        let mut grown = Grown::default();
        match amount {
            Amount::Copies(count) => {
                let origins: Vec<&Example> = train.iter().filter(is_origin).collect();
                grown.origins = origins.len() as u64;
                for copy in 1..=count {
                    grown.add(self.round(&origins, copy, usize::MAX, &mut made, watch)?);
                }
            }
            Amount::UpTo(target) => {
                for &class in classes {
                    let has = train.iter().filter(|row| row.label == class).count();
                    let mut origins: Vec<&Example> =
                        train.iter().filter(|row| is_origin(row) && row.label == class).collect();
                    origins.sort_by_cached_key(|row| rank(self.seed, "augment", &row.id));
                    let mut lacks = target.saturating_sub(has);
                    for copy in 1..=MOST_COPIES {
                        if lacks == 0 || origins.is_empty() {
                            break;
                        }
                        if copy == 1 {
                            grown.origins += origins.len().min(lacks) as u64;
                        }
                        let before = made.len();
                        grown.add(self.round(&origins, copy, lacks, &mut made, watch)?);
                        let new = made.len() - before;
                        lacks -= new;
                        if new == 0 {
                            break;
                        }
                    }
                }
            }
        }
        train.append(&mut made);
        Ok(grown)
    }

    /// One copy more of each of the rows, in their order, until there are `most`.
    fn round(
        &mut self,
        origins: &[&Example],
        copy: u64,
        most: usize,
        made: &mut Vec<Example>,
        watch: &dyn Watch,
    ) -> Result<Grown> {
        let (mut grown, mut left, mut done) = (Grown::default(), most, 0);
        let mut rest = origins;
        while left > 0 && !rest.is_empty() {
            if watch.stopped() {
                return Err(Interrupted.into());
            }
            let (now, later) = rest.split_at(rest.len().min(left).min(CHUNK));
            rest = later;
            let copies: Vec<(String, Option<Example>)> = now
                .par_iter()
                .map(|origin| {
                    let number = copy + self.copies.get(&origin.id).copied().unwrap_or(0);
                    let example = self.making.copy(origin, number, self.seed);
                    (example.as_ref().map(|row| row_key(&row.text, row.pair.as_deref())).unwrap_or_default(), example)
                })
                .collect();
            for (key, example) in copies {
                let Some(mut example) = example else {
                    grown.unchanged += 1;
                    continue;
                };
                if matches!(self.making, Making::Augment(_)) && !self.known.insert(key) {
                    grown.known += 1;
                    continue;
                }
                self.name(&mut example);
                let operation = example.made.as_ref().map(|made| made.operation.clone()).unwrap_or_default();
                *grown.by_operation.entry(operation).or_default() += 1;
                made.push(example);
                left -= usize::from(most < usize::MAX);
            }
            done += now.len();
            let (done, total) = (done as u64, origins.len().min(most) as u64);
            watch.progress(Progress { done, total, unit: "row", ..Progress::default() });
        }
        Ok(grown)
    }

    /// An id of the files may look like one of ours.
    fn name(&mut self, example: &mut Example) {
        let wanted = example.id.clone();
        let mut number = 1;
        while !self.ids.insert(example.id.clone()) {
            number += 1;
            example.id = format!("{wanted}#{number}");
        }
    }
}
