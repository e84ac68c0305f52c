//! Reads the sources of a corpus: their names, their usable rows within the limit, and what is wrong with the others.

use std::path::Path;

use anyhow::{Result, bail};

use super::raw::{Cut, Raw};
use super::reader;
use super::report::{Dates, Reason, Report, SourceReport, Unusable};
use super::spec::{OnUnusable, Source, Spec};
use super::spelling::tidy;
use super::split;
use crate::compute::numbers::thousands;

/// A larger share of unusable rows means that the file is not what the source says, such as another delimiter.
const MOST_UNUSABLE: f64 = 0.05;

/// A short name for each source: its file name without extensions, with its folder if two would be equal.
pub(super) fn source_names(sources: &[Source]) -> Vec<String> {
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

/// The usable rows of a source within its limit. Its report begins here, and warnings about unusable rows.
pub(super) fn read(
    source: &Source,
    name: &str,
    spec: &Spec,
    seed: u64,
    root: &Path,
    report: &mut Report,
) -> Result<Vec<Raw>> {
    let path = root.join(&source.path);
    let table = reader::read(source, &path, if spec.repair_encoding { Cut::Remove } else { Cut::Mark })?;
    let file = reader::shown(&path);
    let (mut rows, mut unusable) = (table.rows, table.unusable);
    without_label(&mut rows, &mut unusable, &file);
    let mut account = SourceReport {
        name: name.to_owned(),
        split: source.split.name().to_owned(),
        encoding: table.encoding.name().to_owned(),
        rows: (rows.len() + unusable.len()) as u64,
        unusable: Reason::count(&unusable),
        dates: dates(&rows),
        ..SourceReport::default()
    };
    account.dropped.unusable = unusable.len() as u64;
    let reasons: Vec<String> = account.unusable.iter().map(|reason| reason.describe(&file)).collect();
    if rows.is_empty() {
        let total = thousands(account.rows);
        let why = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
        bail!("{} has no usable rows among the {total} that were read{why}", path.display());
    }
    let share = unusable.len() as f64 / account.rows as f64;
    let accepted = match spec.unusable {
        Some(OnUnusable::Drop) => 1.0,
        Some(OnUnusable::Error) => 0.0,
        None => MOST_UNUSABLE,
    };
    if share > accepted {
        let counted = format!(
            "{} of the {} rows of {} cannot be used ({:.1} %)",
            thousands(account.dropped.unusable),
            thousands(account.rows),
            path.display(),
            share * 100.0
        );
        bail!(
            "{counted}:\n  {}\ncorrect the file or the source, or leave these rows out with `unusable = \"drop\"`",
            reasons.join("\n  ")
        );
    }
    report.warnings.extend(reasons);
    if let Some(limit) = source.limit.filter(|limit| *limit < rows.len()) {
        let ids: Vec<String> = rows.iter().map(|row| row_id(row, name)).collect();
        let drawn = split::draw(&ids.iter().map(String::as_str).collect::<Vec<_>>(), limit, seed);
        account.dropped.over_limit = (rows.len() - limit) as u64;
        let mut drawn = drawn.into_iter();
        rows.retain(|_| drawn.next() == Some(true));
    }
    report.sources.push(account);
    Ok(rows)
}

/// Trim the labels; rows of which nothing remains are unusable.
fn without_label(rows: &mut Vec<Raw>, unusable: &mut Vec<Unusable>, file: &str) {
    rows.retain_mut(|row| {
        if tidy(&row.label).len() < row.label.len() {
            row.label = tidy(&row.label).to_owned();
        }
        if row.label.is_empty() {
            unusable.push(Unusable::new(format!("{file}:{}", row.line), "no label"));
        }
        !row.label.is_empty()
    });
}

pub(super) fn row_id(row: &Raw, source: &str) -> String {
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
