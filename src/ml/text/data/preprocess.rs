//! Turns source files into a corpus: reads, cleans, checks labels, drops rows, splits.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use super::clean::{clean, key};
use super::corpus::{Corpus, Example};
use super::labels::Labels;
use super::raw::{Cut, Raw};
use super::reader;
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
    check(spec)?;
    let names = source_names(&spec.sources);
    let mut report = Report::default();
    let mut tables = Vec::new();
    for (source, name) in spec.sources.iter().zip(&names) {
        stop(watch)?;
        let (rows, account) = read(source, name, spec, seed, root, &mut report.unusable)?;
        report.sources.push(account);
        tables.push(rows);
    }
    let labels = Labels::settle(spec, &tables)?;
    let mut rows = clean_rows(spec, &names, &tables, &labels, &mut report, watch)?;
    drop(tables);
    unique_ids(&rows)?;
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
    if !spec.sources.iter().any(|source| source.split == Purpose::Train) {
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
            bail!(
                "validation is {share}, but a source already provides validation rows; remove `validation`, or set it to 0"
            );
        }
    }
    Ok(())
}

fn has_validation(spec: &Spec) -> bool {
    spec.sources.iter().any(|source| source.split == Purpose::Validation)
}

/// A short name for each source: its file name without extensions, with its folder if two would be equal.
fn source_names(sources: &[Source]) -> Vec<String> {
    let stem = |source: &Source| {
        let name = reader::shown(&source.path);
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        name.rsplit_once('.').map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem }).to_owned()
    };
    let stems: Vec<String> = sources.iter().map(stem).collect();
    let clash = |name: &String| stems.iter().filter(|other| *other == name).count() > 1;
    let longer = |(source, stem): (&Source, &String)| match source.path.parent().and_then(Path::file_name) {
        Some(folder) if clash(stem) => format!("{}/{stem}", folder.to_string_lossy()),
        _ => stem.clone(),
    };
    sources.iter().zip(&stems).map(longer).collect()
}

/// The usable rows of a source within its limit, and the start of its report.
fn read(
    source: &Source,
    name: &str,
    spec: &Spec,
    seed: u64,
    root: &Path,
    listed: &mut Vec<Unusable>,
) -> Result<(Vec<Raw>, SourceReport)> {
    let path = root.join(&source.path);
    let table = reader::read(source, &path, if spec.repair_encoding { Cut::Remove } else { Cut::Mark })?;
    let mut account = SourceReport {
        name: name.to_owned(),
        split: source.split.name().to_owned(),
        encoding: table.encoding.name().to_owned(),
        rows: (table.rows.len() + table.unusable.len()) as u64,
        dates: dates(&table.rows),
        ..SourceReport::default()
    };
    account.dropped.unusable = table.unusable.len() as u64;
    if table.rows.is_empty() {
        let why = table.unusable.first().map_or_else(String::new, |row| format!(" ({}: {})", row.place, row.reason));
        bail!("{} has no usable rows among the {} that were read{why}", path.display(), account.rows);
    }
    let room = LISTED.saturating_sub(listed.len());
    listed.extend(table.unusable.into_iter().take(room));
    let mut rows = table.rows;
    if let Some(limit) = source.limit.filter(|limit| *limit < rows.len()) {
        let ids: Vec<String> = rows.iter().map(|row| row_id(row, name)).collect();
        let drawn = split::draw(&ids.iter().map(String::as_str).collect::<Vec<_>>(), limit, seed);
        account.dropped.over_limit = (rows.len() - limit) as u64;
        let mut drawn = drawn.into_iter();
        rows.retain(|_| drawn.next() == Some(true));
    }
    Ok((rows, account))
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
    for (at, (table, source)) in tables.iter().zip(&spec.sources).enumerate() {
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
                    rows.push(Row { example, key, source: at, purpose: source.split });
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

fn unique_ids(rows: &[Row]) -> Result<()> {
    let mut seen = HashSet::with_capacity(rows.len());
    for row in rows {
        if !seen.insert(row.example.id.as_str()) {
            bail!(
                "two rows have the id `{}` (one of them in source `{}`); ids must be unique over all sources",
                row.example.id,
                row.example.source
            );
        }
    }
    Ok(())
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
    let share = spec.validation.unwrap_or(if has_validation(spec) { 0.0 } else { DEFAULT_VALIDATION });
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
