//! What is measured in each run.

use crate::stages::evaluate::Scores;

/// A value that each run has.
pub(super) struct Figure {
    /// In `comparison.csv` and `runs.csv`.
    pub key: &'static str,
    /// In `comparison.md`.
    pub title: &'static str,
    /// None if it was not measured.
    pub of: fn(&Scores) -> Option<f64>,
    pub unit: Unit,
}

/// How a value is written in a table.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    /// Four digits after the point.
    Share,
    Seconds,
    Milliseconds,
    Megabytes,
    Count,
}

pub(super) const ACCURACY: usize = 0;
pub(super) const MACRO_F1: usize = 1;
pub(super) const MADE_SECONDS: usize = 6;
pub(super) const MADE_MEMORY: usize = 7;
pub(super) const PARAMETERS: usize = 9;
pub(super) const TRAINED: usize = 10;
pub(super) const BYTES: usize = 12;
pub(super) const LATENCY: usize = 13;
pub(super) const RATE: usize = 15;

pub(super) const FIGURES: [Figure; 16] = [
    figure("accuracy", "accuracy", Unit::Share, |s| Some(s.metrics.accuracy)),
    figure("macro_f1", "macro F1", Unit::Share, |s| Some(s.metrics.macro_f1)),
    figure("macro_precision", "precision", Unit::Share, |s| Some(s.metrics.macro_precision)),
    figure("macro_recall", "recall", Unit::Share, |s| Some(s.metrics.macro_recall)),
    figure("macro_auc", "AUC", Unit::Share, |s| s.metrics.macro_auc),
    figure("loss", "loss", Unit::Share, |s| Some(s.metrics.loss)),
    figure("made_seconds", "made in s", Unit::Seconds, |s| Some(s.cost.made_seconds)),
    figure("made_peak_memory_bytes", "made in MB", Unit::Megabytes, |s| s.cost.made_peak_memory_bytes.map(wide)),
    figure("peak_memory_bytes", "peak MB", Unit::Megabytes, |s| s.cost.peak_memory_bytes.map(wide)),
    figure("parameters", "parameters", Unit::Count, |s| Some(wide(s.size.parameters))),
    figure("trained_parameters", "trained", Unit::Count, |s| s.cost.trained_parameters.map(wide)),
    figure("non_zero", "non-zero", Unit::Count, |s| Some(wide(s.size.non_zero))),
    figure("bytes", "MB", Unit::Megabytes, |s| Some(wide(s.size.bytes))),
    figure("latency_p50_ms", "p50 ms", Unit::Milliseconds, |s| Some(s.speed.as_ref()?.latency_p50_ms)),
    figure("latency_p95_ms", "p95 ms", Unit::Milliseconds, |s| Some(s.speed.as_ref()?.latency_p95_ms)),
    figure("samples_per_second", "rows/s", Unit::Count, |s| Some(s.speed.as_ref()?.samples_per_second)),
];

const fn figure(key: &'static str, title: &'static str, unit: Unit, of: fn(&Scores) -> Option<f64>) -> Figure {
    Figure { key, title, of, unit }
}

fn wide(count: u64) -> f64 {
    count as f64
}

impl Unit {
    pub(super) fn write(self, value: f64) -> String {
        match self {
            Self::Share => format!("{value:.4}"),
            Self::Seconds => format!("{value:.1}"),
            Self::Milliseconds => format!("{value:.2}"),
            Self::Megabytes => format!("{:.2}", value / 1e6),
            Self::Count => format!("{value:.0}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_are_those_of_the_table() {
        for (at, key) in [
            (ACCURACY, "accuracy"),
            (MACRO_F1, "macro_f1"),
            (MADE_SECONDS, "made_seconds"),
            (MADE_MEMORY, "made_peak_memory_bytes"),
            (PARAMETERS, "parameters"),
            (TRAINED, "trained_parameters"),
            (BYTES, "bytes"),
            (LATENCY, "latency_p50_ms"),
            (RATE, "samples_per_second"),
        ] {
            assert_eq!(FIGURES[at].key, key);
        }
    }
}
