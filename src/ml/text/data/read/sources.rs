//! Reads the sources of a corpus: their usable rows within the limit, and what is wrong with the others.

use anyhow::{Result, bail};

use super::raw::{Cut, Raw};
use super::reader::{self, Locate};
use super::unpack;
use crate::compute::numbers::thousands;
use crate::text::data::declare::spec::{OnUnusable, Source, Spec};
use crate::text::data::labels::spelling::tidy;
use crate::text::data::report::{Dates, Reason, Report, SourceReport, Unusable};
use crate::text::data::split;

/// A larger share of unusable rows means that the file is not what the source says, such as another delimiter.
const MOST_UNUSABLE: f64 = 0.05;

/// The usable rows of a source within its limit, and the class names of its files. Its report begins here, and warnings
/// about unusable rows.
pub(crate) fn read(
    source: &Source,
    name: &str,
    spec: &Spec,
    seed: u64,
    locate: Locate,
    report: &mut Report,
) -> Result<(Vec<Raw>, Option<Vec<String>>)> {
    let table = reader::read(source, locate, if spec.repair_encoding { Cut::Remove } else { Cut::Mark })?;
    report.notes.extend(table.notes.iter().cloned());
    report.warnings.extend(table.warnings.iter().cloned());
    let (encoding, path) = (table.encoding(), source.path.display());
    let file = unpack::shown(&source.path);
    let (mut rows, mut unusable) = (table.rows, table.unusable);
    without_label(&mut rows, &mut unusable);
    let broken: u64 = unusable.iter().map(|row| row.rows).sum();
    let mut account = SourceReport {
        name: name.to_owned(),
        split: source.split.name(),
        encoding,
        rows: rows.len() as u64 + broken,
        unusable: Reason::count(&unusable),
        dates: dates(&rows),
        ..SourceReport::default()
    };
    account.dropped.unusable = broken;
    let reasons: Vec<String> = account.unusable.iter().map(|reason| reason.describe(&file)).collect();
    if rows.is_empty() {
        let total = thousands(account.rows);
        let why = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
        bail!("{path} has no usable rows among the {total} that were read{why}");
    }
    let share = broken as f64 / account.rows as f64;
    let accepted = match spec.unusable {
        Some(OnUnusable::Drop) => 1.0,
        Some(OnUnusable::Error) => 0.0,
        None => MOST_UNUSABLE,
    };
    if share > accepted {
        bail!(
            "{} of the {} rows of {path} cannot be used ({:.1} %):\n  {}\n\
             correct the file or the source, or leave these rows out with `unusable = \"drop\"`",
            thousands(broken),
            thousands(account.rows),
            share * 100.0,
            reasons.join("\n  ")
        );
    }
    report.warnings.extend(reasons);
    if let Some(only) = &source.only {
        let before = rows.len();
        // The columns are in the order of the map; a row that lacks one is not wanted.
        rows.retain(|row| {
            row.others.len() == only.len() && only.values().zip(&row.others).all(|(wanted, value)| wanted.has(value))
        });
        account.dropped.filtered = (before - rows.len()) as u64;
        if rows.is_empty() {
            bail!("none of the {} rows of {path} has the values that `where` asks for", thousands(before as u64));
        }
    }
    if let Some(limit) = source.limit.filter(|limit| *limit < rows.len()) {
        let ids: Vec<String> = rows.iter().map(|row| row_id(row, name)).collect();
        let drawn = split::draw(&ids.iter().map(String::as_str).collect::<Vec<_>>(), limit, seed);
        account.dropped.over_limit = (rows.len() - limit) as u64;
        let mut drawn = drawn.into_iter();
        rows.retain(|_| drawn.next() == Some(true));
    }
    report.sources.push(account);
    Ok((rows, table.labels))
}

/// Trim the labels; rows of which nothing remains are unusable.
fn without_label(rows: &mut Vec<Raw>, unusable: &mut Vec<Unusable>) {
    rows.retain_mut(|row| {
        if tidy(&row.label).len() < row.label.len() {
            row.label = tidy(&row.label).to_owned();
        }
        if row.label.is_empty() {
            unusable.push(Unusable::new(row.place(), "no label"));
        }
        !row.label.is_empty()
    });
}

pub(crate) fn row_id(row: &Raw, source: &str) -> String {
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
