//! The rows of a corpus on their way into splits, and the rules by which some are dropped.

use std::collections::{HashMap, HashSet};

use anyhow::Result;

use super::corpus::Example;
use super::nearly::{self, Fate as NearFate, Rules};
use super::report::{Dropped, Report};
use super::take::{Candidate, Wanted};
use super::taken::{Taken, TakenOf};
use crate::compute::numbers::thousands;
use crate::text::data::declare::spec::Purpose;
use crate::text::data::declare::take::{Fill, Take};
use crate::text::data::labels::set::Labels;

/// A cleaned row on its way into a split.
pub(super) struct Row {
    pub example: Example,
    /// Equal for texts, or pairs of texts, that count as the same.
    pub key: String,
    pub source: usize,
    pub purpose: Purpose,
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

pub(super) fn empty(rows: &mut Vec<Row>, report: &mut Report) {
    retain(rows, report, |dropped| &mut dropped.empty, |row| !row.example.text.trim().is_empty());
}

/// A note about pairs without a second text. They stay: the first may be enough, as it is for models of single texts.
pub(super) fn empty_seconds(rows: &[Row]) -> Option<String> {
    let is_empty = |row: &&Row| row.example.pair.as_ref().is_some_and(|pair| pair.trim().is_empty());
    let count = rows.iter().filter(is_empty).count() as u64;
    let noun = if count == 1 { "pair has" } else { "pairs have" };
    (count > 0).then(|| format!("{} {noun} an empty second text; they are kept", thousands(count)))
}

/// Drop training rows that are in validation or test, and validation rows that are in test.
pub(super) fn leaked(rows: &mut Vec<Row>, report: &mut Report) {
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
pub(super) fn duplicates(rows: &mut Vec<Row>, report: &mut Report) {
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

/// Drop rows that are nearly another one.
pub(super) fn near(rows: &mut Vec<Row>, rules: Rules, report: &mut Report) {
    let joined = |row: &Row| row.example.pair.as_ref().map(|pair| format!("{} {pair}", row.example.text));
    let pairs: Vec<Option<String>> = rows.iter().map(joined).collect();
    let candidates = rows.iter().zip(&pairs).map(|(row, pair)| {
        let text = pair.as_deref().unwrap_or(&row.example.text);
        nearly::Candidate { text, label: row.example.label, purpose: row.purpose }
    });
    let (fates, different) = nearly::fates(&candidates.collect::<Vec<_>>(), rules);
    let mut fates = fates.into_iter();
    rows.retain(|row| {
        let dropped = &mut report.sources[row.source].dropped;
        let fate = fates.next().unwrap_or(NearFate::Stay);
        dropped.nearly_leaked += u64::from(fate == NearFate::Leak);
        dropped.nearly_duplicate += u64::from(fate == NearFate::Repeat);
        fate == NearFate::Stay
    });
    if different > 0 {
        let pairs = if different == 1 { "pair" } else { "pairs" };
        let (count, are) = (thousands(different), if different == 1 { "is" } else { "are" });
        report.notes.push(format!(
            "{count} {pairs} of nearly equal texts with different labels {are} kept; look at them: one label of each may be wrong"
        ));
    }
}

/// Drop the rows that `take` does not draw, and note what it got.
pub(super) fn beyond_take(
    (take, seed): (&Take, u64),
    labels: &Labels,
    rows: &mut Vec<Row>,
    report: &mut Report,
) -> Result<()> {
    let mut keep = vec![true; rows.len()];
    for purpose in [Purpose::Train, Purpose::Test] {
        let Some(per_class) = take.wanted(purpose) else { continue };
        let places: Vec<usize> = (0..rows.len()).filter(|&at| rows[at].purpose == purpose).collect();
        let all: Vec<Candidate> = places
            .iter()
            .map(|&at| Candidate { id: &rows[at].example.id, label: rows[at].example.label, source: rows[at].source })
            .collect();
        let drawn = Wanted { per_class, within: take.within, seed }.draw(&all);
        let mut of = vec![vec![TakenOf::default(); report.sources.len()]; labels.names().len()];
        for (row, (&at, drawn)) in all.iter().zip(places.iter().zip(drawn)) {
            let of = &mut of[row.label as usize][row.source];
            of.had += 1;
            of.taken += u64::from(drawn);
            keep[at] = drawn;
        }
        for (label, sources) in labels.names().iter().zip(of) {
            let named = sources.into_iter().zip(&report.sources).filter(|(of, _)| of.had > 0);
            let sources = named.map(|(of, source)| TakenOf { name: source.name.clone(), ..of }).collect();
            let (split, label, wanted) = (purpose.name().to_owned(), label.clone(), per_class as u64);
            report.taken.push(Taken { split, label, wanted, sources, made: 0 });
        }
    }
    report.notes.extend(Taken::notes(&report.taken, take.within.is_some()));
    if take.fill == Some(Fill::Error) {
        Taken::complete(&report.taken)?;
    }
    let mut keep = keep.into_iter();
    rows.retain(|row| {
        let keep = keep.next() == Some(true);
        report.sources[row.source].dropped.not_taken += u64::from(!keep);
        keep
    });
    Ok(())
}

/// The number of rows that repeat the text of an earlier row.
pub(super) fn repeated<'a>(rows: impl Iterator<Item = &'a Row>) -> u64 {
    let mut seen = HashSet::new();
    rows.filter(|row| !seen.insert(row.key.as_str())).count() as u64
}
