//! Variants with all their runs, each compared with the baseline.

use anyhow::{Context as _, Result};

use super::change::{Change, Predictions};
use super::figure::{ACCURACY, BYTES, FIGURES, LATENCY, MACRO_F1, MADE_SECONDS, RATE, TRAINED};
use super::over::Point;
use super::run::{Run, values};
use crate::stages::compare::gate::Figures;
use crate::stages::compare::row::same_rows;
use crate::stages::evaluate::Scores;
use pipe_ml::judge::repeated::Spread;
use pipe_ml::judge::significance::alignment;
use pipe_ml::text::data::outcomes::Outcomes;
use pipe_ml::watch::Watch;

/// Every variant's runs, in the order of the inputs.
#[derive(Debug)]
pub(in super::super) struct Repeated {
    /// The axis.
    pub over: String,
    pub baseline: String,
    /// How many rows each run scored.
    pub scored: usize,
    pub methods: Vec<Method>,
}

/// A variant: the runs that differ only in the axis.
#[derive(Debug)]
pub(in super::super) struct Method {
    pub variant: String,
    pub runs: Vec<Run>,
    /// Of each figure; None if a run did not measure it.
    pub spreads: Vec<Option<Spread>>,
    /// None for the baseline.
    pub change: Option<Change>,
}

impl Repeated {
    /// Compare runs given with their labels, one after the other: a run's outcomes are reduced to its predictions before the next
    /// is read.
    pub(in super::super) fn of(
        all: impl Iterator<Item = Result<(String, Scores)>>,
        (over, baseline): (&str, Option<&str>),
        watch: &dyn Watch,
    ) -> Result<Self> {
        let mut first: Option<(String, Scores)> = None;
        let mut methods: Vec<Method> = Vec::new();
        for one in all {
            let (label, scores) = one?;
            let point = Point::of(&label, over).ok().with_context(|| format!("`{label}` has several axes `{over}`"))?;
            let predicted = match &first {
                None => scores.outcomes.predicted.clone(),
                Some((name, base)) => same_rows((name, base), (&label, &scores), in_order)?,
            };
            let values = FIGURES.iter().map(|figure| (figure.of)(&scores)).collect();
            let run = Run { run: point.run.unwrap_or_default(), values, predicted };
            match methods.iter_mut().find(|method| method.variant == point.variant) {
                Some(method) => method.runs.push(run),
                None => methods.push(Method::new(point.variant, run)),
            }
            first.get_or_insert((label, scores));
        }
        let (_, scores) = first.context("there are no models to compare")?;
        methods.iter_mut().for_each(Method::spread);
        let known = || methods.iter().map(|method| method.variant.as_str()).collect::<Vec<_>>().join(", ");
        let place = match baseline {
            Some(name) => methods
                .iter()
                .position(|method| method.variant == name)
                .with_context(|| format!("the baseline `{name}` is not among the variants: {}", known()))?,
            None => 0,
        };
        let predictions = Predictions { labels: &scores.outcomes.labels, classes: scores.metrics.per_class.len() };
        let change = |(at, method): (usize, &Method)| match at == place {
            true => Ok(None),
            false => Change::of(&methods[place].runs, &method.runs, &predictions, watch).map(Some),
        };
        let changes: Vec<Option<Change>> = methods.iter().enumerate().map(change).collect::<Result<_>>()?;
        methods.iter_mut().zip(changes).for_each(|(method, change)| method.change = change);
        let baseline = methods[place].variant.clone();
        Ok(Self { over: over.into(), baseline, scored: scores.metrics.rows, methods })
    }

    /// Means, standard deviations and changes by name: `adapted.accuracy`, `adapted.accuracy-sd`, `adapted.accuracy-change`.
    pub(in super::super) fn facts(&self) -> Vec<(String, f64)> {
        let mut all = Vec::new();
        for method in &self.methods {
            let mut add = |name: &str, value: Option<f64>| {
                all.extend(value.map(|value| (format!("{}.{name}", method.variant), value)));
            };
            add("runs", Some(method.runs.len() as f64));
            for (figure, name) in [(ACCURACY, "accuracy"), (MACRO_F1, "macro-f1"), (MADE_SECONDS, "made-seconds")] {
                add(name, method.mean(figure));
                add(&format!("{name}-sd"), method.spreads[figure].and_then(|spread| spread.sd));
            }
            add("trained-parameters", method.mean(TRAINED));
            let Some(paired) = method.change.as_ref().and_then(|change| change.paired.as_ref()) else { continue };
            for (name, metric) in [("accuracy", &paired.accuracy), ("macro-f1", &paired.macro_f1)] {
                add(&format!("{name}-change"), Some(metric.differences.spread.mean));
                add(&format!("{name}-change-low"), Some(metric.two_level.interval.low));
                add(&format!("{name}-change-high"), Some(metric.two_level.interval.high));
                add(&format!("{name}-better"), Some(metric.two_level.better));
                add(&format!("{name}-p"), metric.differences.t_p);
            }
        }
        all
    }

    pub(super) fn base(&self) -> Option<&Method> {
        self.methods.iter().find(|method| method.variant == self.baseline)
    }

    /// What limits apply to: means, and the low ends of the two-level intervals.
    pub(in super::super) fn figures(&self) -> Vec<Figures> {
        let base = self.base();
        let ratio = |method: &Method, figure| Some(method.mean(figure)? / base?.mean(figure)?);
        let figures = |method: &Method| {
            let changes = method.change.as_ref().and_then(|change| change.paired.as_ref());
            Figures {
                variant: method.variant.clone(),
                accuracy_drop: method.change.as_ref().map(|change| 0.0 - change.accuracy),
                macro_f1_drop: method.change.as_ref().map(|change| 0.0 - change.macro_f1),
                accuracy_low_end: changes.map(|paired| paired.accuracy.two_level.interval.low),
                macro_f1_low_end: changes.map(|paired| paired.macro_f1.two_level.interval.low),
                size_ratio: ratio(method, BYTES),
                latency_ratio: ratio(method, LATENCY),
                speed_up: ratio(method, RATE),
            }
        };
        self.methods.iter().map(figures).collect()
    }
}

impl Method {
    fn new(variant: String, run: Run) -> Self {
        Self { variant, runs: vec![run], spreads: Vec::new(), change: None }
    }

    fn spread(&mut self) {
        self.spreads = (0..FIGURES.len()).map(|figure| Spread::of(&values(&self.runs, figure)?)).collect();
    }

    pub(super) fn mean(&self, figure: usize) -> Option<f64> {
        self.spreads[figure].map(|spread| spread.mean)
    }
}

/// The predictions of the second in the order of the rows of the first.
fn in_order(first: &Outcomes, second: &Outcomes) -> Result<Vec<u32>> {
    Ok(alignment(first, second)?.into_iter().map(|row| second.predicted[row]).collect())
}
