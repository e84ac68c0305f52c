//! The comparison as two Markdown tables, aligned so that they read well as plain text too.

use unicode_width::UnicodeWidthStr;

use super::row::{Comparison, Row};

/// A column: its title and a variant's cell.
type Column = (&'static str, fn(&Row) -> String);

/// Shown if there is no value.
pub(super) const NONE: &str = "–";

const QUALITY: [Column; 10] = [
    ("variant", |r| name(&r.variant)),
    ("accuracy", |r| format!("{:.4}", r.accuracy)),
    ("change", |r| or_none(r.accuracy_change, |v| format!("{v:+.4}"))),
    ("95 % interval", |r| {
        or_none(r.accuracy_change_low.zip(r.accuracy_change_high), |(low, high)| format!("{low:+.4} … {high:+.4}"))
    }),
    ("p", |r| or_none(r.mcnemar_p, probability)),
    ("macro F1", |r| format!("{:.4}", r.macro_f1)),
    ("precision", |r| format!("{:.4}", r.macro_precision)),
    ("recall", |r| format!("{:.4}", r.macro_recall)),
    ("AUC", |r| or_none(r.macro_auc, |v| format!("{v:.4}"))),
    ("loss", |r| format!("{:.4}", r.loss)),
];

const COST: [Column; 13] = [
    ("variant", |r| name(&r.variant)),
    ("MB", |r| megabytes(r.bytes)),
    ("size", |r| format!("{:.2}×", r.size_ratio)),
    ("f32 MB", |r| megabytes(r.f32_bytes)),
    ("parameters", |r| r.parameters.to_string()),
    ("non-zero", |r| r.non_zero.to_string()),
    ("sparsity", |r| format!("{:.1} %", 100.0 * r.sparsity)),
    ("p50 ms", |r| or_none(r.latency_p50_ms, |v| format!("{v:.2}"))),
    ("p95 ms", |r| or_none(r.latency_p95_ms, |v| format!("{v:.2}"))),
    ("rows/s", |r| or_none(r.samples_per_second, |v| format!("{v:.0}"))),
    ("speed-up", |r| or_none(r.speed_up, |v| format!("{v:.2}×"))),
    ("peak MB", |r| or_none(r.peak_memory_bytes, megabytes)),
    ("made in s", |r| format!("{:.1}", r.made_seconds)),
];

pub(super) fn document(comparison: &Comparison) -> String {
    let Comparison { baseline, scored, rows } = comparison;
    format!(
        "{scored} rows; changes, sizes and speed-ups are against `{baseline}`.\n\n{}\n{}\n\
         change: of the accuracy, with its 95 % interval (paired bootstrap) and the p of McNemar's test. f32 MB: what as many\n\
         parameters take in f32. p50, p95: latency at batch 1. peak: memory to open the model and score. made in: the time of\n\
         the stage that made the model.\n",
        table(&QUALITY, rows),
        table(&COST, rows)
    )
}

/// A variant's name in a cell.
pub(super) fn name(variant: &str) -> String {
    variant.replace('|', "\\|")
}

pub(super) fn or_none<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or(NONE.to_owned(), text)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}

pub(super) fn probability(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".into() } else { format!("{p:.4}") }
}

fn table(columns: &[Column], rows: &[Row]) -> String {
    let titles = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let cells = rows.iter().map(|row| columns.iter().map(|(_, cell)| cell(row)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(titles).chain(cells).collect();
    aligned(&lines, 1)
}

/// A Markdown table of lines, the first of which has the titles. The first `left` columns are names, which start at the left;
/// numbers end at the right.
pub(super) fn aligned(lines: &[Vec<String>], left: usize) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|c| lines.iter().map(|line| line[c].width()).max().unwrap_or(0).max(3)).collect();
    let padded = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).enumerate().map(|(c, (cell, &width))| {
            let gap = " ".repeat(width - cell.width());
            if c < left { format!(" {cell}{gap} |") } else { format!(" {gap}{cell} |") }
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = widths.iter().enumerate().map(|(c, &width)| match c < left {
        true => format!(" {} |", "-".repeat(width)),
        false => format!(" {}: |", "-".repeat(width - 1)),
    });
    let rule = format!("|{}\n", rule.collect::<String>());
    let mut lines = lines.iter().map(padded);
    let mut text = lines.next().unwrap_or_default() + &rule;
    text.extend(lines);
    text
}
