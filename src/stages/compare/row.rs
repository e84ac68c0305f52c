//! The values of one variant, compared with the baseline.

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::gate::Figures;
use crate::stages::evaluate::Scores;
use pipe_ml::judge::significance::{Interval, Paired};
use pipe_ml::text::data::outcomes::Outcomes;

/// Every variant's row, in the order of the inputs.
#[derive(Debug)]
pub(super) struct Comparison {
    pub baseline: String,
    /// How many rows each variant scored.
    pub scored: usize,
    pub rows: Vec<Row>,
}

/// One variant, a line of `comparison.csv`. The baseline has no comparison values; times that were not measured are
/// empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub variant: String,
    pub accuracy: f64,
    pub accuracy_change: Option<f64>,
    /// The 95 % interval of the change.
    pub accuracy_change_low: Option<f64>,
    pub accuracy_change_high: Option<f64>,
    pub mcnemar_p: Option<f64>,
    pub macro_f1: f64,
    pub macro_f1_change: Option<f64>,
    pub macro_precision: f64,
    pub macro_recall: f64,
    pub macro_auc: Option<f64>,
    pub loss: f64,
    pub bytes: u64,
    pub size_ratio: f64,
    /// The size of the same number of parameters as 32-bit floats.
    pub f32_bytes: u64,
    pub parameters: u64,
    pub non_zero: u64,
    pub sparsity: f64,
    pub latency_p50_ms: Option<f64>,
    pub latency_p95_ms: Option<f64>,
    pub latency_ratio: Option<f64>,
    pub samples_per_second: Option<f64>,
    pub speed_up: Option<f64>,
    pub peak_memory_bytes: Option<u64>,
    pub made_seconds: f64,
    /// Numbers of rows that only the baseline got right, and that only the variant got right.
    pub lost: Option<u64>,
    pub gained: Option<u64>,
}

impl Comparison {
    pub(super) fn of(all: &[(String, Scores)], baseline: Option<&str>) -> Result<Self> {
        let known = || all.iter().map(|(label, _)| label.as_str()).collect::<Vec<_>>().join(", ");
        let place = match baseline {
            Some(name) => all
                .iter()
                .position(|(label, _)| label == name)
                .with_context(|| format!("the baseline `{name}` is not among the variants: {}", known()))?,
            None => 0,
        };
        let (baseline, base) = all.get(place).context("there are no models to compare")?;
        let rows = all.iter().enumerate().map(|(at, (label, scores))| {
            let paired = if at == place { None } else { Some(pair((baseline, base), (label, scores))?) };
            Ok(Row::of(label, scores, base, paired))
        });
        Ok(Self { baseline: baseline.clone(), scored: base.metrics.rows, rows: rows.collect::<Result<_>>()? })
    }
}

/// Pair the two variants' results row by row; without the same rows a change means nothing.
fn pair(base: (&str, &Scores), variant: (&str, &Scores)) -> Result<Paired> {
    same_rows(base, variant, Paired::of)
}

/// What `compare` makes of the outcomes of two variants, which must have the same labels and rows.
pub(super) fn same_rows<T>(
    (baseline, base): (&str, &Scores),
    (label, scores): (&str, &Scores),
    compare: fn(&Outcomes, &Outcomes) -> Result<T>,
) -> Result<T> {
    let labels =
        |scores: &Scores| -> Vec<String> { scores.metrics.per_class.iter().map(|c| c.label.clone()).collect() };
    let (theirs, ours) = (labels(base), labels(scores));
    ensure!(
        theirs == ours,
        "`{label}` was scored with other labels than the baseline `{baseline}`: {} and {}",
        ours.join(", "),
        theirs.join(", ")
    );
    compare(&base.outcomes, &scores.outcomes).map_err(|difference| {
        anyhow::anyhow!(
            "`{label}` was not scored on the same rows as the baseline `{baseline}` ({difference}), so their accuracies \
             cannot be compared; let `evaluate` score both on one split of one corpus"
        )
    })
}

impl Row {
    fn of(label: &str, s: &Scores, base: &Scores, paired: Option<Paired>) -> Self {
        let interval: Option<Interval> = paired.map(|p| p.interval());
        let (ours, theirs) = (s.speed.as_ref(), base.speed.as_ref());
        let speeds = || ours.zip(theirs);
        Self {
            variant: label.into(),
            accuracy: s.metrics.accuracy,
            accuracy_change: paired.map(|p| p.change()),
            accuracy_change_low: interval.map(|i| i.low),
            accuracy_change_high: interval.map(|i| i.high),
            mcnemar_p: paired.map(|p| p.mcnemar()),
            macro_f1: s.metrics.macro_f1,
            macro_f1_change: paired.map(|_| s.metrics.macro_f1 - base.metrics.macro_f1),
            macro_precision: s.metrics.macro_precision,
            macro_recall: s.metrics.macro_recall,
            macro_auc: s.metrics.macro_auc,
            loss: s.metrics.loss,
            bytes: s.size.bytes,
            size_ratio: s.size.bytes as f64 / base.size.bytes as f64,
            f32_bytes: s.size.parameters * size_of::<f32>() as u64,
            parameters: s.size.parameters,
            non_zero: s.size.non_zero,
            sparsity: 1.0 - s.size.non_zero as f64 / s.size.parameters as f64,
            latency_p50_ms: ours.map(|v| v.latency_p50_ms),
            latency_p95_ms: ours.map(|v| v.latency_p95_ms),
            latency_ratio: speeds().map(|(a, b)| a.latency_p50_ms / b.latency_p50_ms),
            samples_per_second: ours.map(|v| v.samples_per_second),
            speed_up: speeds().map(|(a, b)| a.samples_per_second / b.samples_per_second),
            peak_memory_bytes: s.cost.peak_memory_bytes,
            made_seconds: s.cost.made_seconds,
            lost: paired.map(|p| p.lost),
            gained: paired.map(|p| p.gained),
        }
    }
}

impl From<&Row> for Figures {
    fn from(row: &Row) -> Self {
        Self {
            variant: row.variant.clone(),
            accuracy_drop: row.accuracy_change.map(|change| 0.0 - change),
            macro_f1_drop: row.macro_f1_change.map(|change| 0.0 - change),
            accuracy_low_end: row.accuracy_change_low,
            macro_f1_low_end: None,
            size_ratio: Some(row.size_ratio),
            latency_ratio: row.latency_ratio,
            speed_up: row.speed_up,
        }
    }
}
