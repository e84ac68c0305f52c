//! Pictures of errors.

use super::rows::{Rows, Variant};
use crate::draw::intervals::{Intervals, Row, intervals};
use crate::draw::legend::{Entry, Mark};
use crate::draw::listing::{Item, listing};
use pipe_ml::judge::errors::slices::{Slice, Slices};
use pipe_ml::judge::errors::suspects::Suspicion;

/// More slices than this are only in the table.
const SLICES: usize = 24;

/// All rows, then the slices, the surest to be worse first.
pub(super) fn slices(slices: &Slices) -> String {
    let row = |slice: &Slice, is_whole: bool| {
        let is_worse = !is_whole && slices.is_surely_worse(slice);
        let said = format!("{}: {} of {} rows right", slice.name, slice.right, slice.rows);
        Row {
            name: slice.name.clone(),
            detail: slice.rows.to_string(),
            interval: Some((slice.interval.low, slice.interval.high)),
            values: vec![(slice.accuracy(), usize::from(is_worse), said)],
            is_strong: is_whole,
        }
    };
    let all = slices.slices.len();
    let shown = slices.slices.iter().take(SLICES).map(|slice| row(slice, false));
    let rows: Vec<Row> = std::iter::once(row(&slices.whole, true)).chain(shown).collect();
    let mut legend = vec![Entry::new(Mark::Bar, "", "95 % interval (Wilson)")];
    if rows.iter().flat_map(|row| &row.values).any(|(_, color, _)| *color == 1) {
        legend.push(Entry::new(Mark::Dot, "c1", "worse, and hardly by chance"));
    }
    let subtitle = match all > SLICES {
        true => format!("the {SLICES} of {all} slices that are surest to be worse; dashed: all rows"),
        false => "the surest to be worse first; dashed: all rows".into(),
    };
    intervals(&Intervals {
        title: "Accuracy by slice".into(),
        subtitle,
        across: "accuracy".into(),
        legend,
        rows,
        level: Some(slices.whole.accuracy()),
        detail: "rows".into(),
    })
}

/// The most confident errors.
pub(super) fn confident(rows: &Rows, most: usize) -> String {
    let wrong = rows.wrong();
    let item = |row: &usize| {
        let confidence = rows.scored.confidence(*row);
        Item {
            heading: format!("{} → {}", rows.label(rows.scored.labels[*row]), rows.label(rows.scored.predicted[*row])),
            share: confidence,
            figure: format!("{confidence:.3}"),
            text: rows.text(*row),
        }
    };
    let items: Vec<Item> = wrong.iter().take(most).map(item).collect();
    let subtitle = match wrong.len() {
        0 => "no row is wrong".to_owned(),
        all => format!("label → prediction, with its probability; {} of {all}", items.len()),
    };
    listing("Most confident errors", &subtitle, &items)
}

/// The labels that fit least.
pub(super) fn suspects(rows: &Rows, suspicion: &Suspicion, most: usize) -> String {
    let ranked = suspicion.ranked();
    let item = |row: &usize| {
        let probable = suspicion.suspected[*row].map_or("", |class| rows.label(class));
        let quality = suspicion.quality[*row];
        Item {
            heading: format!("{}, probably {probable}", rows.label(rows.scored.labels[*row])),
            share: quality.self_confidence,
            figure: format!("{:.3}", quality.self_confidence),
            text: rows.text(*row),
        }
    };
    let items: Vec<Item> = ranked.iter().take(most).map(item).collect();
    let subtitle = match ranked.len() {
        0 => "no label is suspected".to_owned(),
        all => format!("label, with its probability; the least fitting {} of {all}", items.len()),
    };
    listing("Suspected label errors", &subtitle, &items)
}

/// Rows that further models lose, as many of each; then those that they gain.
pub(super) fn disagreements(name: &str, rows: &Rows, variants: &[Variant], most: usize) -> String {
    let each = most.div_ceil(variants.len().max(1));
    let mut items = Vec::new();
    for variant in variants {
        for found in variant.found.iter().take(each) {
            let confidence = variant.scored.confidence(found.other);
            let (ours, theirs) = (rows.scored.predicted[found.row], variant.scored.predicted[found.other]);
            items.push(Item {
                heading: format!(
                    "{} by {}: {} → {}",
                    found.kind.name(),
                    variant.name,
                    rows.label(ours),
                    rows.label(theirs)
                ),
                share: confidence,
                figure: format!("{confidence:.3}"),
                text: rows.text(found.row),
            });
        }
    }
    let subtitle = match items.is_empty() {
        true => "no prediction differs".to_owned(),
        false => format!("prediction of {name} → of the variant, with its probability"),
    };
    listing("Disagreements", &subtitle, &items)
}
