//! The change of a variant against the baseline, paired by run.

use anyhow::{Context as _, Result};

use super::figure::{ACCURACY, MACRO_F1};
use super::run::{Run, values};
use pipe_ml::judge::repeated;
use pipe_ml::judge::repeated::{Differences, PairedRows, Spread, almost_stochastic_order, two_level};
use pipe_ml::watch::Watch;

/// `evaluate` computes both from counts, so this takes a damaged file.
const NOT_FINITE: &str = "the accuracy or the macro F1 of a run is not finite";

/// The rows that all runs scored.
pub(super) struct Predictions<'a> {
    pub labels: &'a [u32],
    pub classes: usize,
}

/// How a variant differs from the baseline.
#[derive(Debug)]
pub(in super::super) struct Change {
    /// Differences of the means: over the pairs if there are any, else over all runs.
    pub accuracy: f64,
    pub macro_f1: f64,
    /// None if no run of the variant has a run of the baseline with the same value of the axis.
    pub paired: Option<Paired>,
    /// Runs of either without a partner.
    pub alone: usize,
}

/// What the pairs say.
#[derive(Debug)]
pub(in super::super) struct Paired {
    pub accuracy: Metric,
    pub macro_f1: Metric,
}

/// The change of one metric.
#[derive(Debug)]
pub(in super::super) struct Metric {
    pub differences: Differences,
    /// For other runs and other rows.
    pub two_level: repeated::Change,
    /// ε of almost stochastic order; None for one pair, which has no distribution.
    pub order: Option<f64>,
}

impl Change {
    pub(super) fn of(base: &[Run], runs: &[Run], rows: &Predictions, watch: &dyn Watch) -> Result<Self> {
        let mut pairs = Vec::new();
        for run in runs {
            pairs.extend(base.iter().find(|other| other.run == run.run).map(|other| (other, run)));
        }
        let alone = base.len() + runs.len() - 2 * pairs.len();
        if pairs.is_empty() {
            let mean = |runs| {
                Some(Spread::of(&values(runs, ACCURACY)?)?.mean).zip(Some(Spread::of(&values(runs, MACRO_F1)?)?.mean))
            };
            let ((old, old_f1), (new, new_f1)) = mean(base).zip(mean(runs)).context(NOT_FINITE)?;
            return Ok(Self { accuracy: new - old, macro_f1: new_f1 - old_f1, paired: None, alone });
        }
        let predicted = pairs.iter().map(|(a, b)| [a.predicted.as_slice(), b.predicted.as_slice()]).collect();
        let drawn = two_level(&PairedRows::new(rows.labels, rows.classes, predicted)?, watch)?;
        let metric = |figure: usize, two_level| {
            let values = pairs.iter().map(|(a, b)| Some((a.values[figure]?, b.values[figure]?)));
            let values: Vec<(f64, f64)> = values.flatten().collect();
            let (before, after): (Vec<f64>, Vec<f64>) = values.iter().copied().unzip();
            let differences = Differences::of(&values)?;
            let order = if values.len() > 1 { almost_stochastic_order(&after, &before) } else { None };
            Some(Metric { differences, two_level, order })
        };
        let both = metric(ACCURACY, drawn.accuracy).zip(metric(MACRO_F1, drawn.macro_f1));
        let (accuracy, macro_f1) = both.context(NOT_FINITE)?;
        let mean = |metric: &Metric| metric.differences.spread.mean;
        Ok(Self {
            accuracy: mean(&accuracy),
            macro_f1: mean(&macro_f1),
            paired: Some(Paired { accuracy, macro_f1 }),
            alone,
        })
    }
}
