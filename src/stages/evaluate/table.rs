//! The figures before and after a decision, side by side.

use std::fmt::Write as _;

use anyhow::Result;

use super::quality::Effect;
use pipe_ml::judge::calibration::Calibration;
use pipe_ml::judge::metrics::Metrics;

/// A figure's name in the file and in the table, and its values before and after.
type Line = (&'static str, &'static str, Option<f64>, Option<f64>);

fn lines(effect: &Effect, (after, calibrated): (&Metrics, &Calibration)) -> [Line; 9] {
    let (before, raw) = (&effect.before, &effect.calibration_before);
    let both = |of: fn(&Metrics) -> f64| (Some(of(before)), Some(of(after)));
    let errors = |of: fn(&Calibration) -> f64| (Some(of(raw)), Some(of(calibrated)));
    let line = |key, title, (before, after)| (key, title, before, after);
    [
        line("accuracy", "accuracy", both(|m| m.accuracy)),
        line("macro_precision", "macro precision", both(|m| m.macro_precision)),
        line("macro_recall", "macro recall", both(|m| m.macro_recall)),
        line("macro_f1", "macro F1", both(|m| m.macro_f1)),
        line("macro_auc", "macro AUC", (before.macro_auc, after.macro_auc)),
        line("nll", "NLL", errors(|c| c.nll)),
        line("brier", "Brier", errors(|c| c.brier)),
        line("ece", "ECE", errors(|c| c.ece)),
        line("adaptive_ece", "adaptive ECE", errors(|c| c.adaptive_ece)),
    ]
}

/// One line a figure, unrounded.
pub(super) fn csv(effect: &Effect, after: (&Metrics, &Calibration)) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["figure", "before", "after", "change"])?;
    let text = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let mut put = |key: &str, before: Option<f64>, after: Option<f64>| {
        let change = before.zip(after).map(|(before, after)| after - before);
        writer.write_record([key, &text(before), &text(after), &text(change)])
    };
    for (key, _, before, after) in lines(effect, after) {
        put(key, before, after)?;
    }
    for (key, value) in
        [("lost", effect.lost as f64), ("gained", effect.gained as f64), ("mcnemar_p", effect.mcnemar_p)]
    {
        put(key, None, Some(value))?;
    }
    if let Some(abstention) = &effect.abstention {
        put("coverage", Some(1.0), Some(abstention.coverage))?;
        put("covered_accuracy", Some(effect.before.accuracy), abstention.covered_accuracy)?;
    }
    Ok(writer.into_inner().map_err(|e| e.into_error())?)
}

/// The same to read.
pub(super) fn markdown(effect: &Effect, after: (&Metrics, &Calibration)) -> String {
    let rows = effect.before.rows;
    let mut out = format!(
        "{rows} rows; decision `{}` at temperature {:.4}.\n\n| {:15} | {:7} | {:7} | {:8} |\n| {:-<15} | {:-<6}: | {:-<6}: | {:-<7}: |\n",
        effect.method.name(),
        effect.temperature,
        "figure",
        "before",
        "after",
        "change",
        "",
        "",
        "",
        ""
    );
    for (_, title, before, after) in lines(effect, after) {
        let text = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
        let change = before.zip(after).map_or("–".to_owned(), |(before, after)| format!("{:+.4}", after - before));
        let _ = writeln!(out, "| {title:15} | {:>7} | {:>7} | {change:>8} |", text(before), text(after));
    }
    let _ = write!(
        out,
        "\nOnly before right: {}; only after right: {}; McNemar's p {:.4}.\n",
        effect.lost, effect.gained, effect.mcnemar_p
    );
    if let Some(abstention) = &effect.abstention {
        let right = abstention.covered_accuracy.map_or("–".to_owned(), |accuracy| format!("{accuracy:.4}"));
        let _ = writeln!(
            out,
            "\nLabels of probability {} and more: {} rows ({:.1} %), accuracy {right} on them. The table counts all rows.",
            abstention.below,
            abstention.covered_rows,
            100.0 * abstention.coverage
        );
    }
    out
}
