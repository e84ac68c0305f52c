//! Turns source files into a corpus: reads, cleans, checks labels, drops rows, splits.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use super::clean::{clean, key};
use super::corpus::{Corpus, Example};
use super::labels::Labels;
use super::names;
use super::raw::{Cut, Raw};
use super::reader::{self, Locate, Table};
use super::report::{Changed, Dates, Dropped, LISTED, Report, SourceReport, SplitReport, Splits, Unusable};
use super::spec::{DEFAULT_VALIDATION, Purpose, Source, Spec};
use super::split;
use crate::watch::{Interrupted, Progress, Watch};

/// Rows to clean before checking the watch again.
const CHUNK: usize = 2048;

/// A cleaned row on its way into a split.
struct Row {
    example: Example,
    /// Equal for texts that count as the same.
    key: String,
    source: usize,
    purpose: Purpose,
}

/// Read, clean and split the sources. `seed` decides the validation rows and the rows that `limit` keeps.
///
/// Every row ends in a split or is counted under one reason in [`Report`].
pub fn preprocess(spec: &Spec, seed: u64, root: &Path, watch: &dyn Watch) -> Result<Corpus> {
    preprocess_at(spec, seed, &|path| root.join(path), watch)
}

/// As [`preprocess`]; `locate` turns a path of the specification into one on this machine.
pub fn preprocess_at(spec: &Spec, seed: u64, locate: Locate, watch: &dyn Watch) -> Result<Corpus> {
    check(spec)?;
    let names = names::of_sources(&spec.sources);
    let mut report = Report::default();
    let (mut tables, mut declared) = (Vec::new(), Vec::new());
    for (source, name) in spec.sources.iter().zip(&names) {
        stop(watch)?;
        let (table, account) = read(source, name, spec, seed, locate, &mut report.unusable)?;
        table.notes.iter().for_each(|note| watch.note(note.clone()));
        table.warnings.iter().for_each(|warning| watch.warn(warning.clone()));
        report.sources.push(account);
        tables.push(table.rows);
        declared.push(table.labels);
    }
    let labels = Labels::settle(spec, &tables, &declared)?;
    let mut rows = clean_rows(spec, &names, &tables, &labels, &mut report, watch)?;
    drop(tables);
    let repeated_ids = names::make_unique(rows.iter_mut().map(|row| &mut row.example.id));
    if let Some(warning) = repeated_ids {
        watch.warn(warning);
    }
    drop_empty(&mut rows, &mut report);
    if spec.leakage {
        drop_leaked(&mut rows, &mut report);
    }
    if spec.dedupe {
        drop_duplicates(&mut rows, &mut report);
    }
    report.test_duplicates = repeated(rows.iter().filter(|row| row.purpose == Purpose::Test));
    stop(watch)?;
    finish(spec, seed, labels, rows, report, watch)
}

fn stop(watch: &dyn Watch) -> Result<()> {
    if watch.stopped() { Err(Interrupted.into()) } else { Ok(()) }
}

/// The checks that need no file.
fn check(spec: &Spec) -> Result<()> {
    if !spec.sources.iter().any(|source| source.split.may_be(Purpose::Train)) {
        bail!(
            "none of the {} sources is for training; remove `split` from one, or set it to \"train\"",
            spec.sources.len()
        );
    }
    if let Some(labels) = &spec.labels {
        let distinct: HashSet<&String> = labels.iter().collect();
        if distinct.len() < 2 || distinct.len() < labels.len() {
            bail!("labels must name at least two different labels, each once");
        }
    }
    if let Some(share) = spec.validation {
        if !(0.0..1.0).contains(&share) {
            bail!("validation is {share}; it must be at least 0 and below 1");
        }
        if share > 0.0 && has_validation(spec) {
            bail!(two_validations(share));
        }
    }
    Ok(())
}

fn has_validation(spec: &Spec) -> bool {
    spec.sources.iter().any(|source| source.split.purpose() == Some(Purpose::Validation))
}

fn two_validations(share: f64) -> String {
    format!("validation is {share}, but a source already provides validation rows; remove `validation`, or set it to 0")
}

/// The usable rows of a source within its limit, and the start of its report.
fn read(
    source: &Source,
    name: &str,
    spec: &Spec,
    seed: u64,
    locate: Locate,
    listed: &mut Vec<Unusable>,
) -> Result<(Table, SourceReport)> {
    let mut table = reader::read(source, locate, if spec.repair_encoding { Cut::Remove } else { Cut::Mark })?;
    let unusable: u64 = table.unusable.iter().map(|row| row.rows).sum();
    let mut account = SourceReport {
        name: name.to_owned(),
        split: source.split.name(),
        encoding: table.encoding(),
        rows: table.rows.len() as u64 + unusable,
        dates: dates(&table.rows),
        ..SourceReport::default()
    };
    account.dropped.unusable = unusable;
    if table.rows.is_empty() {
        let why = table.unusable.first().map_or_else(String::new, |row| format!(" ({}: {})", row.place, row.reason));
        bail!("{} has no usable rows among the {} that were read{why}", source.path.display(), account.rows);
    }
    let room = LISTED.saturating_sub(listed.len());
    listed.extend(table.unusable.drain(..).take(room));
    if let Some(limit) = source.limit.filter(|limit| *limit < table.rows.len()) {
        let ids: Vec<String> = table.rows.iter().map(|row| row_id(row, name)).collect();
        let drawn = split::draw(&ids.iter().map(String::as_str).collect::<Vec<_>>(), limit, seed);
        account.dropped.over_limit = (table.rows.len() - limit) as u64;
        let mut drawn = drawn.into_iter();
        table.rows.retain(|_| drawn.next() == Some(true));
    }
    Ok((table, account))
}

fn row_id(row: &Raw, source: &str) -> String {
    row.id.clone().unwrap_or_else(|| format!("{source}:{}", row.number))
}

/// First and last day of `DD-MM-YYYY` dates, with any separator.
fn dates(rows: &[Raw]) -> Option<Dates> {
    let read = |date: &str| {
        let mut parts = date.split(['-', '.', '/']).map(|part| part.parse::<u32>().ok());
        let (day, month, year) = (parts.next()??, parts.next()??, parts.next()??);
        let real = (1..=31).contains(&day) && (1..=12).contains(&month) && (1000..=9999).contains(&year);
        (real && parts.next().is_none()).then_some((year, month, day))
    };
    let written: Vec<&str> = rows.iter().filter_map(|row| row.date.as_deref()).collect();
    let known: Vec<(u32, u32, u32)> = written.iter().filter_map(|date| read(date)).collect();
    let show = |(year, month, day): &(u32, u32, u32)| format!("{year}-{month:02}-{day:02}");
    Some(Dates {
        first: known.iter().min().map(show)?,
        last: known.iter().max().map(show)?,
        unreadable: (written.len() - known.len()) as u64,
    })
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
    let mut all = Vec::with_capacity(total);
    for (at, table) in tables.iter().enumerate() {
        let before = all.len();
        let chunks: Vec<(Vec<Row>, Changed)> = table
            .par_chunks(CHUNK)
            .map(|chunk| {
                stop(watch)?;
                let mut changed = Changed::default();
                let mut rows = Vec::with_capacity(chunk.len());
                for raw in chunk {
                    if spec.repair_encoding {
                        changed.cut_characters += raw.cut;
                    }
                    let text = clean(&raw.text, &cleaning, &mut changed);
                    let key = key(&text);
                    let (id, label) = (row_id(raw, &names[at]), labels.id(&raw.label));
                    let label = label.with_context(|| format!("internal error: label `{}` has no id", raw.label))?;
                    let example = Example { id, text, label, source: names[at].clone() };
                    rows.push(Row { example, key, source: at, purpose: raw.purpose });
                }
                Ok((rows, changed))
            })
            .collect::<Result<_>>()?;
        for (rows, changed) in chunks {
            all.extend(rows);
            report.sources[at].changed.add(&changed);
        }
        let done = all.len() as u64;
        debug_assert_eq!(all.len() - before, table.len());
        watch.progress(Progress { done, total: total as u64, unit: "row", ..Progress::default() });
    }
    Ok(all)
}

/// Keep the rows that `keep` accepts, and count the others under `reason`.
fn retain(rows: &mut Vec<Row>, report: &mut Report, reason: fn(&mut Dropped) -> &mut u64, keep: impl Fn(&Row) -> bool) {
    rows.retain(|row| {
        let keep = keep(row);
        if !keep {
            *reason(&mut report.sources[row.source].dropped) += 1;
        }
        keep
    });
}

fn drop_empty(rows: &mut Vec<Row>, report: &mut Report) {
    retain(rows, report, |dropped| &mut dropped.empty, |row| !row.example.text.trim().is_empty());
}

/// Drop training rows that are in validation or test, and validation rows that are in test.
fn drop_leaked(rows: &mut Vec<Row>, report: &mut Report) {
    let keys = |purpose: Purpose| -> HashSet<String> {
        rows.iter().filter(|row| row.purpose == purpose).map(|row| row.key.clone()).collect()
    };
    let (test, validation) = (keys(Purpose::Test), keys(Purpose::Validation));
    let leaked = |row: &Row| match row.purpose {
        Purpose::Train => test.contains(&row.key) || validation.contains(&row.key),
        Purpose::Validation => test.contains(&row.key),
        Purpose::Test => false,
    };
    retain(rows, report, |dropped| &mut dropped.leaked, |row| !leaked(row));
}

/// In train and in validation, drop all rows of texts with contradicting labels, and all but the first row of other
/// texts.
fn drop_duplicates(rows: &mut Vec<Row>, report: &mut Report) {
    // For each text: the row to keep, or none if its labels contradict each other.
    let mut first: HashMap<(Purpose, &str), (usize, u32, bool)> = HashMap::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.purpose != Purpose::Test) {
        let entry = first.entry((row.purpose, &row.key)).or_insert((at, row.example.label, true));
        entry.2 &= entry.1 == row.example.label;
    }
    #[derive(Clone, Copy, PartialEq)]
    enum Fate {
        Stay,
        Conflict,
        Repeat,
    }
    let fates: Vec<Fate> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| match first.get(&(row.purpose, row.key.as_str())) {
            Some((.., false)) => Fate::Conflict,
            Some((stays, ..)) if *stays != at => Fate::Repeat,
            _ => Fate::Stay,
        })
        .collect();
    let mut at = 0;
    rows.retain(|row| {
        let dropped = &mut report.sources[row.source].dropped;
        let fate = fates[at];
        at += 1;
        dropped.conflicting += u64::from(fate == Fate::Conflict);
        dropped.duplicate += u64::from(fate == Fate::Repeat);
        fate == Fate::Stay
    });
}

/// The number of rows that repeat the text of an earlier row.
fn repeated<'a>(rows: impl Iterator<Item = &'a Row>) -> u64 {
    let mut seen = HashSet::new();
    rows.filter(|row| !seen.insert(row.key.as_str())).count() as u64
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
    for row in &rows {
        report.sources[row.source].kept += 1;
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
    let names = labels.into_names();
    learnable(&train, &names, watch)?;
    let share = match spec.validation {
        Some(share) if share > 0.0 && !validation.is_empty() => bail!(two_validations(share)),
        Some(share) => share,
        None if has_validation(spec) || !validation.is_empty() => 0.0,
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
    Ok(Corpus { labels: names, train, validation, test, report, cleaning: Some(spec.cleaning()) })
}

fn learnable(train: &[Example], names: &[String], watch: &dyn Watch) -> Result<()> {
    let counts = count(train, names.len()).labels;
    let mut present = names.iter().zip(&counts).filter(|(_, count)| **count > 0).map(|(name, _)| name);
    match (present.next(), present.next()) {
        (None, _) => bail!("no training rows are left after cleaning"),
        (Some(only), None) => {
            bail!("all {} training rows have the label `{only}`; a classifier needs at least two labels", train.len())
        }
        _ => {}
    }
    for (name, _) in names.iter().zip(counts).filter(|(_, count)| *count == 0) {
        watch.warn(format!("label `{name}` has no training rows"));
    }
    Ok(())
}

fn count(rows: &[Example], classes: usize) -> SplitReport {
    let mut labels = vec![0; classes];
    rows.iter().for_each(|row| labels[row.label as usize] += 1);
    SplitReport { rows: rows.len() as u64, labels }
}

#[cfg(test)]
#[path = "preprocess_tests.rs"]
mod tests;
