//! Turns source files into a corpus: reads, cleans, checks labels, drops rows, splits.

use std::path::Path;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use super::corpus::{Corpus, Example};
use super::drops::{self, Row};
use super::fill::{count, fill};
use super::names;
use super::nearly::Rules;
use super::report::{Changed, Dropped, Left, Report, Splits};
use super::split;
use crate::compute::numbers::thousands;
use crate::text::data::clean::markup::look;
use crate::text::data::clean::text::{clean, row_key};
use crate::text::data::declare::problems::two_validations;
use crate::text::data::declare::spec::{DEFAULT_VALIDATION, Purpose, Spec};
use crate::text::data::labels::merge;
use crate::text::data::labels::set::{Labels, Remarks};
use crate::text::data::labels::spelling::{LISTED, listed, quoted};
use crate::text::data::read::date::Dating;
use crate::text::data::read::raw::Raw;
use crate::text::data::read::reader::Locate;
use crate::text::data::read::sources::{read, row_id};
use crate::watch::{Interrupted, Progress, Watch};

/// Rows to clean before checking the watch again.
const CHUNK: usize = 2048;

/// Read, clean and split the sources. `seed` decides the validation rows and the rows that `limit` keeps.
///
/// Every row ends in a split or is counted under one reason in [`Report`].
pub fn preprocess(spec: &Spec, seed: u64, root: &Path, watch: &dyn Watch) -> Result<Corpus> {
    preprocess_at(spec, seed, &|path| root.join(path), watch)
}

/// As [`preprocess`]; `locate` turns a path of the specification into one on this machine.
pub fn preprocess_at(spec: &Spec, seed: u64, locate: Locate, watch: &dyn Watch) -> Result<Corpus> {
    if let Some(problem) = spec.problems().into_iter().next() {
        bail!(problem.to_string());
    }
    let names = names::of_sources(&spec.sources);
    let mut report = Report::default();
    let (mut tables, mut declared) = (Vec::new(), Vec::new());
    for (source, name) in spec.sources.iter().zip(&names) {
        stop(watch)?;
        let said = report.warnings.len();
        let (rows, classes) = read(source, name, spec, seed, locate, &mut report)?;
        tables.push(rows);
        declared.push(classes);
        report.warnings[said..].iter().for_each(|text| watch.warn(text.clone()));
    }
    let mut remarks = Remarks::default();
    let labels = Labels::settle(spec, &names, &mut tables, &declared, &mut remarks);
    // Also if they are not settled: the warnings may say why.
    remarks.warnings.iter().for_each(|text| watch.warn(text.clone()));
    report.warnings.extend(remarks.warnings);
    report.notes.extend(remarks.notes);
    let labels = labels?;
    let mut rows = clean_rows(spec, &names, &tables, &labels, &mut report, watch)?;
    drop(tables);
    if let Some(warning) = names::make_unique(rows.iter_mut().map(|row| &mut row.example.id)) {
        watch.warn(warning.clone());
        report.warnings.push(warning);
    }
    drops::empty(&mut rows, &mut report);
    if spec.leakage {
        drops::leaked(&mut rows, &mut report);
    }
    if spec.dedupe {
        drops::duplicates(&mut rows, &mut report);
    }
    if let Some(threshold) = spec.near_duplicates {
        stop(watch)?;
        let rules = Rules { threshold, leakage: spec.leakage, dedupe: spec.dedupe };
        drops::near(&mut rows, rules, &mut report);
    }
    report.notes.extend(drops::empty_seconds(&rows));
    report.test_duplicates = drops::repeated(rows.iter().filter(|row| row.purpose == Purpose::Test));
    stop(watch)?;
    if let Some(take) = &spec.take {
        drops::beyond_take((take, seed), &labels, &mut rows, &mut report)?;
    }
    finish(spec, seed, labels, rows, report, watch)
}

fn stop(watch: &dyn Watch) -> Result<()> {
    if watch.stopped() { Err(Interrupted.into()) } else { Ok(()) }
}

/// Clean all texts on all cores; keeps the order of sources and rows.
fn clean_rows(
    spec: &Spec,
    names: &[String],
    tables: &[Vec<Raw>],
    labels: &Labels,
    report: &mut Report,
    watch: &dyn Watch,
) -> Result<Vec<Row>> {
    let total: usize = tables.iter().map(Vec::len).sum();
    let cleaning = spec.cleaning();
    let (mut all, mut all_left) = (Vec::with_capacity(total), Left::default());
    for (at, table) in tables.iter().enumerate() {
        let dating = Dating::of(&spec.sources[at]);
        let before = all.len();
        let chunks: Vec<(Vec<Row>, Changed, Left)> = table
            .par_chunks(CHUNK)
            .map(|chunk| {
                stop(watch)?;
                let (mut changed, mut left) = (Changed::default(), Left::default());
                let mut rows = Vec::with_capacity(chunk.len());
                for raw in chunk {
                    if spec.repair_encoding {
                        changed.cut_characters += raw.cut;
                    }
                    let text = clean(&raw.text, &cleaning, &mut changed);
                    look(&text, &cleaning, &mut left);
                    let pair = raw.pair.as_ref().map(|pair| clean(pair, &cleaning, &mut changed));
                    if let Some(pair) = &pair {
                        look(pair, &cleaning, &mut left);
                    }
                    let key = row_key(&text, pair.as_deref());
                    let (id, label) = (row_id(raw, &names[at]), labels.id(&raw.label));
                    let label = label.with_context(|| format!("internal error: label `{}` has no id", raw.label))?;
                    let day = raw.date.as_deref().and_then(|date| dating.day(date));
                    let example = Example { id, text, pair, label, source: names[at].clone(), day, made: None };
                    rows.push(Row { example, key, source: at, purpose: raw.purpose });
                }
                Ok((rows, changed, left))
            })
            .collect::<Result<_>>()?;
        for (rows, changed, left) in chunks {
            all.extend(rows);
            all_left.add(&left);
            report.sources[at].changed.add(&changed);
        }
        let done = all.len() as u64;
        debug_assert_eq!(all.len() - before, table.len());
        watch.progress(Progress { done, total: total as u64, unit: "row", ..Progress::default() });
    }
    for (parameter, note) in all_left.advice(total as u64) {
        report.advised.push(parameter);
        report.notes.push(note);
    }
    Ok(all)
}

/// Set validation rows aside, add up the report, and check that there is something to learn from.
fn finish(
    spec: &Spec,
    seed: u64,
    labels: Labels,
    rows: Vec<Row>,
    mut report: Report,
    watch: &dyn Watch,
) -> Result<Corpus> {
    let names = labels.into_names();
    report.sources.iter_mut().for_each(|source| source.labels = vec![0; names.len()]);
    let mut learned = vec![vec![0; names.len()]; report.sources.len()];
    for row in &rows {
        let source = &mut report.sources[row.source];
        source.kept += 1;
        source.labels[row.example.label as usize] += 1;
        learned[row.source][row.example.label as usize] += u64::from(row.purpose == Purpose::Train);
    }
    for source in &report.sources {
        report.rows += source.rows;
        report.kept += source.kept;
        report.dropped.add(&source.dropped);
        report.changed.add(&source.changed);
    }
    let (mut train, mut validation, mut test) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match row.purpose {
            Purpose::Train => train.push(row.example),
            Purpose::Validation => validation.push(row.example),
            Purpose::Test => test.push(row.example),
        }
    }
    learnable(&train, &names, &report, spec)?;
    let share = match spec.validation {
        // A source that says row by row what its rows are for.
        Some(share) if share > 0.0 && !validation.is_empty() => bail!(two_validations(share)),
        Some(share) => share,
        None if spec.has_validation() || !validation.is_empty() => 0.0,
        None => DEFAULT_VALIDATION,
    };
    if share > 0.0 {
        let ids: Vec<&str> = train.iter().map(|row| row.id.as_str()).collect();
        let of: Vec<u32> = train.iter().map(|row| row.label).collect();
        let mut aside = split::stratified(&ids, &of, &names, share, seed)?.into_iter();
        (validation, train) = train.into_iter().partition(|_| aside.next() == Some(true));
    }
    report.splits = Splits {
        train: count(&train, names.len()),
        validation: count(&validation, names.len()),
        test: count(&test, names.len()),
    };
    let warnings = surprises(&names, &report, &learned);
    warnings.iter().for_each(|text| watch.warn(text.clone()));
    report.warnings.extend(warnings);
    let mut corpus = Corpus { labels: names, train, validation, test, report, cleaning: Some(spec.cleaning()) };
    if let Some(take) = &spec.take {
        fill(&mut corpus, take, share, seed, watch)?;
    }
    Ok(corpus)
}

/// Fail if there is nothing to learn from the training rows.
fn learnable(train: &[Example], names: &[String], report: &Report, spec: &Spec) -> Result<()> {
    let counts = count(train, names.len()).labels;
    let mut present = names.iter().zip(&counts).filter(|(_, count)| **count > 0).map(|(name, _)| name);
    let (mut dropped, mut rows) = (Dropped::default(), 0);
    for (account, source) in report.sources.iter().zip(&spec.sources) {
        if source.split.may_be(Purpose::Train) {
            dropped.add(&account.dropped);
            rows += account.rows;
        }
    }
    let why = dropped.describe();
    let why = if why.is_empty() { String::new() } else { format!(" (of {} rows: {why})", thousands(rows)) };
    match (present.next(), present.next()) {
        (None, _) => bail!("no training rows are left{why}"),
        (Some(only), None) => bail!(
            "all {} training rows have the label {}{why}; a classifier needs at least two labels",
            thousands(train.len() as u64),
            quoted(only)
        ),
        _ => Ok(()),
    }
}

/// What about the labels of the finished splits is probably not as the user expects.
fn surprises(names: &[String], report: &Report, learned: &[Vec<u64>]) -> Vec<String> {
    let mut warnings = Vec::new();
    let splits = &report.splits;
    for (name, split) in [("training", &splits.train), ("validation", &splits.validation), ("test", &splits.test)] {
        let absent = |(label, rows): (&String, &u64)| (*rows == 0).then_some(label.clone());
        let absent: Vec<String> = names.iter().zip(&split.labels).filter_map(absent).collect();
        if split.rows > 0 && !absent.is_empty() {
            let noun = if absent.len() == 1 { "label" } else { "labels" };
            let has = if absent.len() == 1 { "has" } else { "have" };
            let labels = listed(absent.iter().map(String::as_str), LISTED);
            warnings.push(format!("{noun} {labels} {has} no {name} rows"));
        }
    }
    let sources: Vec<&str> = report.sources.iter().map(|account| account.name.as_str()).collect();
    warnings.extend(merge::one_sided(&sources, names, learned));
    warnings
}

#[cfg(test)]
#[path = "preprocess_tests.rs"]
mod tests;
