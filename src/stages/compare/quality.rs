//! Plots the quality of the variants: accuracy with the interval of its change, and the means over the labels.

use crate::draw::intervals::{Intervals, Row as Drawn, intervals};
use crate::draw::legend::{Entry, Mark};
use crate::draw::matrix::{Cell, Matrix, picture};
use crate::draw::number::{ends, spread};
use crate::stages::evaluate::Scores;

use super::row::{Comparison, Row};

/// A name, the number of a colour, and the value.
type Figure = (&'static str, usize, fn(&Row) -> f64);

/// The figures, one colour each; accuracy last, so that no other hides it.
const FIGURES: [Figure; 4] = [
    ("macro precision", 2, |row| row.macro_precision),
    ("macro recall", 3, |row| row.macro_recall),
    ("macro F1", 1, |row| row.macro_f1),
    ("accuracy", 0, |row| row.accuracy),
];

/// A row for each variant. The interval is that of the change, moved to the accuracy.
pub(super) fn svg(comparison: &Comparison) -> String {
    let Comparison { baseline, rows, .. } = comparison;
    let level = rows.iter().find(|row| row.variant == *baseline).map(|row| row.accuracy);
    let drawn = |row: &Row| Drawn {
        name: row.variant.clone(),
        detail: row.accuracy_change.map_or("baseline".into(), |change| format!("{:+.2}", 100.0 * change)),
        interval: level.and_then(|level| Some((level + row.accuracy_change_low?, level + row.accuracy_change_high?))),
        values: FIGURES
            .iter()
            .map(|(name, color, value)| (value(row), *color, format!("{}: {name} {:.4}", row.variant, value(row))))
            .collect(),
        is_strong: row.variant == *baseline,
    };
    let mut legend: Vec<Entry> =
        FIGURES.iter().rev().map(|(name, color, _)| Entry::new(Mark::Dot, format!("c{color}"), *name)).collect();
    if rows.len() > 1 {
        legend.push(Entry::new(Mark::Bar, "", "95 % interval of the accuracy"));
    }
    intervals(&Intervals {
        title: "Quality of the variants".into(),
        subtitle: "dashed: the accuracy of the baseline".into(),
        across: String::new(),
        legend,
        rows: rows.iter().map(drawn).collect(),
        level,
        detail: "points".into(),
    })
}

/// F1 of each label and variant. Cells are shaded between the least and the greatest value.
pub(super) fn labels(all: &[(String, Scores)]) -> String {
    let Some((_, first)) = all.first() else { return String::new() };
    let classes = &first.metrics.per_class;
    let f1 = |class: usize, scores: &Scores| scores.metrics.per_class.get(class).map_or(0.0, |class| class.f1);
    let every = all.iter().flat_map(|(_, scores)| (0..classes.len()).map(move |class| f1(class, scores)));
    let (low, high) = ends(every);
    let (low, high) = spread(low, high);
    let cell = |class: usize, (variant, scores): &(String, Scores)| {
        let value = f1(class, scores);
        Cell {
            share: Some((value - low) / (high - low)),
            text: format!("{value:.2}"),
            second: String::new(),
            said: format!("{}, {variant}: F1 {value:.4}", classes[class].label),
        }
    };
    let matrix = Matrix {
        rows: classes.iter().map(|class| class.label.as_str()).collect(),
        columns: all.iter().map(|(variant, _)| variant.as_str()).collect(),
        axes: ("label", ""),
        cells: (0..classes.len()).map(|class| all.iter().map(|one| cell(class, one)).collect()).collect(),
    };
    picture(&matrix, "F1 by label", "")
}

/// The numbers of [`labels`], with precision and recall: `labels.csv`.
pub(super) fn table(all: &[(String, Scores)]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(["variant", "label", "precision", "recall", "f1", "auc", "rows"])?;
    for (variant, scores) in all {
        for class in &scores.metrics.per_class {
            let figures = (class.precision, class.recall, class.f1, class.auc, class.support);
            writer.serialize((variant, &class.label, figures))?;
        }
    }
    Ok(writer.into_inner().map_err(|e| e.into_error())?)
}
