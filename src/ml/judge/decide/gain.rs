//! What a decision gains on rows that it was not fitted on.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::apply::{Decided, decide};
use super::counts::Counts;
use super::fit::{Fit, Method};
use super::folds::stratified;
use super::labelled::Labelled;
use super::rule::Rule;
use crate::compute::numbers::{argmax, log_softmax};
use crate::judge::repeated::Spread;

/// What a method is meant to improve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// The drop of the cross-entropy: all that a temperature alone changes.
    Loss,
    MacroF1,
    /// The drop of the mean cost of a row.
    Cost,
    /// Accuracy if the classes were as frequent as the prior says.
    AccuracyAtPrior,
}

impl Criterion {
    pub fn of(method: Method) -> Self {
        match method {
            Method::Argmax => Self::Loss,
            Method::Covid | Method::MacroF1 => Self::MacroF1,
            Method::Cost => Self::Cost,
            Method::Prior => Self::AccuracyAtPrior,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::MacroF1 => "macro F1",
            Self::Cost => "cost",
            Self::AccuracyAtPrior => "accuracy at the prior",
        }
    }
}

/// Mean and standard deviation over the folds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub mean: f64,
    pub sd: f64,
}

/// What a decision gains over the highest logit, on rows that it was not fitted on: positive is better. Rows count with the
/// label that the decision gives, whether it would abstain or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    pub folds: usize,
    pub criterion: Criterion,
    /// Of the criterion.
    pub gain: Figure,
    pub accuracy: Figure,
    pub macro_f1: Figure,
    /// The drop of the cross-entropy by the temperature alone.
    pub loss: Figure,
    /// Share of rows that get a label, if the decision may abstain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub coverage: Option<Figure>,
    /// The accuracy on those. None also if a fold has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub covered_accuracy: Option<Figure>,
}

/// What one fold gains.
struct Fold {
    accuracy: f64,
    macro_f1: f64,
    loss: f64,
    cost: Option<f64>,
    accuracy_at_prior: Option<f64>,
    coverage: f64,
    covered_accuracy: Option<f64>,
}

/// Fit on all folds but one, apply to that one, and so on: `folds` stratified folds that depend on `seed` and the ids.
pub fn out_of_fold(
    fit: &Fit,
    rows: &Labelled,
    ids: &[String],
    (folds, seed, abstain): (usize, u64, Option<f64>),
) -> Result<Gain> {
    ensure!(rows.labels.len() >= folds, "there are {} rows, fewer than {folds} folds", rows.labels.len());
    let of = stratified(ids, rows.labels, (folds, seed));
    let all: Vec<Fold> = (0..folds)
        .map(|fold| {
            let (others, held) = (pick(rows, |row| of[row] != fold), pick(rows, |row| of[row] == fold));
            one(fit, (&others, &held), (rows.classes, abstain))
        })
        .collect::<Result<_>>()?;
    let figure = |value: &dyn Fn(&Fold) -> Option<f64>| {
        let values: Option<Vec<f64>> = all.iter().map(value).collect();
        let spread = Spread::of(&values?)?;
        Some(Figure { mean: spread.mean, sd: spread.sd.unwrap_or(0.0) })
    };
    let certain = |value: &dyn Fn(&Fold) -> Option<f64>| figure(value).context("a gain is not finite");
    let criterion = Criterion::of(fit.method);
    Ok(Gain {
        folds,
        criterion,
        gain: certain(&|fold| match criterion {
            Criterion::Loss => Some(fold.loss),
            Criterion::MacroF1 => Some(fold.macro_f1),
            Criterion::Cost => fold.cost,
            Criterion::AccuracyAtPrior => fold.accuracy_at_prior,
        })?,
        accuracy: certain(&|fold| Some(fold.accuracy))?,
        macro_f1: certain(&|fold| Some(fold.macro_f1))?,
        loss: certain(&|fold| Some(fold.loss))?,
        coverage: abstain.and_then(|_| figure(&|fold| Some(fold.coverage))),
        covered_accuracy: abstain.and_then(|_| figure(&|fold| fold.covered_accuracy)),
    })
}

/// Some of the rows.
fn pick(rows: &Labelled, is_in: impl Fn(usize) -> bool) -> (Vec<f32>, Vec<u32>) {
    let chosen = || (0..rows.labels.len()).filter(|&row| is_in(row));
    let logits = chosen().flat_map(|row| &rows.logits[row * rows.classes..][..rows.classes]).copied().collect();
    (logits, chosen().map(|row| rows.labels[row]).collect())
}

type Part = (Vec<f32>, Vec<u32>);

fn one(fit: &Fit, (others, held): (&Part, &Part), (classes, abstain): (usize, Option<f64>)) -> Result<Fold> {
    let fitted = fit.run(&Labelled { logits: &others.0, labels: &others.1, classes })?;
    let (logits, labels) = held;
    let Decided { predicted, abstained, .. } = decide(&fitted, logits, (classes, abstain));
    let raw: Vec<u32> = logits.chunks(classes).map(|row| argmax(&wide(row)) as u32).collect();
    let counts = |predicted: &[u32]| {
        Counts::of(labels.iter().zip(predicted).map(|(label, given)| (*label as usize, *given as usize)), classes)
    };
    let (before, after) = (counts(&raw), counts(&predicted));
    let loss = |temperature: f64| {
        let of = |(row, label): (&[f32], &u32)| {
            let scaled: Vec<f64> = row.iter().map(|&z| f64::from(z) / temperature).collect();
            -log_softmax(&scaled)[*label as usize]
        };
        logits.chunks(classes).zip(labels).map(of).sum::<f64>() / labels.len() as f64
    };
    // A row counts as often as its class would at the prior.
    let weight = |label: u32| match &fitted.prior {
        None => 1.0,
        Some(prior) => prior.expected[label as usize] / after.support[label as usize] as f64,
    };
    let weighted = |predicted: &[u32], value: &dyn Fn(u32, u32) -> f64| {
        let total: f64 = labels.iter().map(|&label| weight(label)).sum();
        let sum: f64 = labels.iter().zip(predicted).map(|(&label, &given)| weight(label) * value(label, given)).sum();
        sum / total
    };
    let difference = |value: &dyn Fn(u32, u32) -> f64| weighted(&predicted, value) - weighted(&raw, value);
    let cost = match &fitted.rule {
        Rule::Cost { cost } => Some(-difference(&|label, given| cost[label as usize][given as usize])),
        _ => None,
    };
    let covered = abstained.iter().filter(|abstained| !**abstained).count();
    let right = (0..labels.len()).filter(|&row| !abstained[row] && predicted[row] == labels[row]).count();
    Ok(Fold {
        accuracy: after.accuracy() - before.accuracy(),
        macro_f1: after.macro_f1() - before.macro_f1(),
        loss: loss(1.0) - loss(fitted.temperature),
        cost,
        accuracy_at_prior: Some(difference(&|label, given| f64::from(u8::from(label == given)))),
        coverage: covered as f64 / labels.len() as f64,
        covered_accuracy: (covered > 0).then(|| right as f64 / covered as f64),
    })
}

fn wide(row: &[f32]) -> Vec<f64> {
    row.iter().map(|&z| f64::from(z)).collect()
}
