//! Reads the sources of a corpus: their usable rows within the limit, and what is wrong with the others.

use anyhow::{Result, bail};

use super::date::{Dating, iso};
use super::raw::{Cut, Raw};
use super::reader::{self, Locate};
use super::unpack;
use crate::compute::numbers::thousands;
use crate::text::data::declare::spec::{OnUnusable, Source, Spec};
use crate::text::data::labels::spelling::{quoted, tidy};
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
    let (dates, undated) = dates(&rows, source);
    let mut account = SourceReport {
        name: name.to_owned(),
        split: source.split.name(),
        encoding,
        rows: rows.len() as u64 + broken,
        unusable: Reason::count(&unusable),
        dates,
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
    report.warnings.extend(reasons.into_iter().chain(undated));
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

/// How many examples of unreadable dates a warning names.
const EXAMPLES: usize = 3;

/// First and last day of a source with dates; and a warning, if some cannot be read.
fn dates(rows: &[Raw], source: &Source) -> (Option<Dates>, Option<String>) {
    let dating = Dating::of(source);
    let (mut range, mut unreadable, mut missing) = (None::<(i32, i32)>, Vec::new(), 0);
    for row in rows {
        let Some(date) = row.date.as_deref().filter(|date| !date.trim().is_empty()) else {
            missing += 1;
            continue;
        };
        match dating.day(date) {
            Some(day) => range = Some(range.map_or((day, day), |(first, last)| (first.min(day), last.max(day)))),
            None => unreadable.push((date, row)),
        }
    }
    if source.date.is_none() && missing == rows.len() as u64 {
        return (None, None);
    }
    let warning = (!unreadable.is_empty()).then(|| {
        let shown = unreadable.iter().take(EXAMPLES).map(|(date, row)| format!("{} ({})", quoted(date), row.place()));
        let more = if unreadable.len() > EXAMPLES { ", …" } else { "" };
        format!(
            "{}: {} of {} cannot be read as {}: {}{more}; the rows stay, without a date",
            source.path.display(),
            match unreadable.len() {
                1 => "1 date".to_owned(),
                count => format!("{} dates", thousands(count as u64)),
            },
            thousands(rows.len() as u64 - missing),
            dating.expected(),
            shown.collect::<Vec<_>>().join(", ")
        )
    });
    let (first, last) = range.map_or_else(Default::default, |(first, last)| (iso(first), iso(last)));
    (Some(Dates { first, last, unreadable: unreadable.len() as u64, missing }), warning)
}
