//! The tables of errors.

use anyhow::Result;

use super::rows::{Rows, Variant};
use pipe_ml::judge::errors::marks::Mark;
use pipe_ml::judge::errors::slices::{Slice, Slices, has, words};
use pipe_ml::judge::errors::suspects::Suspicion;
use pipe_ml::judge::errors::table::{Column, Table};

/// The wrong rows, the most confident first: `errors.parquet`, `errors.csv`.
pub(super) fn errors(rows: &Rows, suspicion: &Suspicion) -> Table {
    let wrong = rows.wrong();
    let mut table = texts(rows, &wrong);
    let scored = &rows.scored;
    let named = |class: &dyn Fn(usize) -> u32| {
        Column::Text(wrong.iter().map(|row| rows.label(class(*row)).to_owned()).collect())
    };
    let number = |value: &dyn Fn(usize) -> f64| Column::Number(wrong.iter().map(|row| value(*row)).collect());
    table.add("label", named(&|row| scored.labels[row]));
    table.add("predicted", named(&|row| scored.predicted[row]));
    table.add("confidence", number(&|row| scored.confidence(row)));
    table.add("label_score", number(&|row| suspicion.quality[row].self_confidence));
    table.add("margin", number(&|row| suspicion.quality[row].normalized_margin));
    table.add("suspect", Column::Flag(wrong.iter().map(|row| suspicion.suspected[*row].is_some()).collect()));
    let examples = || wrong.iter().map(|row| rows.examples[*row]);
    table.add("source", Column::Text(examples().map(|example| example.source.clone()).collect()));
    if rows.examples.iter().any(|example| example.day.is_some()) {
        table.add("date", Column::Day(examples().map(|example| example.day).collect()));
    }
    if rows.examples.iter().any(|example| example.made.is_some()) {
        let origin = examples().map(|example| example.made.as_ref().map(|made| made.origin.clone()));
        table.add("origin", Column::Texts(origin.collect()));
        let operation = examples().map(|example| example.made.as_ref().map(|made| made.operation.clone()));
        table.add("operation", Column::Texts(operation.collect()));
    }
    table.add("words", Column::Whole(examples().map(|example| words(example) as u64).collect()));
    for mark in Mark::ALL {
        table.add(mark.name(), Column::Flag(examples().map(|example| has(example, mark)).collect()));
    }
    table
}

/// The rows whose labels are suspected, the least fitting first: `suspects.parquet`, `suspects.csv`.
pub(super) fn suspects(rows: &Rows, suspicion: &Suspicion) -> Table {
    let ranked = suspicion.ranked();
    let mut table = texts(rows, &ranked);
    let probable = |row: &usize| suspicion.suspected[*row].map_or(String::new(), |class| rows.label(class).to_owned());
    let label = |row: &usize| rows.label(rows.scored.labels[*row]).to_owned();
    table.add("label", Column::Text(ranked.iter().map(label).collect()));
    table.add("probable_label", Column::Text(ranked.iter().map(probable).collect()));
    let quality = || ranked.iter().map(|row| suspicion.quality[*row]);
    table.add("label_score", Column::Number(quality().map(|quality| quality.self_confidence).collect()));
    table.add("margin", Column::Number(quality().map(|quality| quality.normalized_margin).collect()));
    table.add("source", Column::Text(ranked.iter().map(|row| rows.examples[*row].source.clone()).collect()));
    table
}

/// Rows about which models differ: `disagreements.parquet`, `disagreements.csv`.
pub(super) fn disagreements(rows: &Rows, variants: &[Variant]) -> Table {
    let all = || variants.iter().flat_map(|variant| variant.found.iter().map(move |found| (variant, found)));
    let at: Vec<usize> = all().map(|(_, found)| found.row).collect();
    let mut table = Table::default();
    table.add("variant", Column::Text(all().map(|(variant, _)| variant.name.clone()).collect()));
    table.add("outcome", Column::Text(all().map(|(_, found)| found.kind.name().to_owned()).collect()));
    add_texts(&mut table, rows, &at);
    let label = |class: u32| rows.label(class).to_owned();
    let scored = &rows.scored;
    table.add("label", Column::Text(at.iter().map(|row| label(scored.labels[*row])).collect()));
    table.add("predicted", Column::Text(at.iter().map(|row| label(scored.predicted[*row])).collect()));
    table.add("confidence", Column::Number(at.iter().map(|row| scored.confidence(*row)).collect()));
    let theirs = all().map(|(variant, found)| label(variant.scored.predicted[found.other]));
    table.add("variant_predicted", Column::Text(theirs.collect()));
    let sure = all().map(|(variant, found)| variant.scored.confidence(found.other));
    table.add("variant_confidence", Column::Number(sure.collect()));
    table
}

/// The columns id and text, and the second text of pairs.
fn texts(rows: &Rows, at: &[usize]) -> Table {
    let mut table = Table::default();
    add_texts(&mut table, rows, at);
    table
}

fn add_texts(table: &mut Table, rows: &Rows, at: &[usize]) {
    let examples = || at.iter().map(|row| rows.examples[*row]);
    table.add("id", Column::Text(examples().map(|example| example.id.clone()).collect()));
    table.add("text", Column::Text(examples().map(|example| example.text.clone()).collect()));
    if rows.examples.iter().any(|example| example.pair.is_some()) {
        table.add("text_pair", Column::Texts(examples().map(|example| example.pair.clone()).collect()));
    }
}

/// `slices.csv`: all rows, then the slices, the surest to be worse first.
pub(super) fn slices(slices: &Slices) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "by",
        "slice",
        "rows",
        "right",
        "accuracy",
        "low",
        "high",
        "difference",
        "lift",
        "chance",
        "surely_worse",
    ])?;
    for slice in std::iter::once(&slices.whole).chain(&slices.slices) {
        let Slice { by, name, rows, right, interval, chance } = slice;
        writer.write_record([
            (*by).to_owned(),
            name.clone(),
            rows.to_string(),
            right.to_string(),
            slice.accuracy().to_string(),
            interval.low.to_string(),
            interval.high.to_string(),
            slices.difference(slice).to_string(),
            slices.lift(slice).map_or(String::new(), |lift| lift.to_string()),
            chance.to_string(),
            (*by != "all" && slices.is_surely_worse(slice)).to_string(),
        ])?;
    }
    Ok(writer.into_inner().map_err(|e| e.into_error())?)
}
