//! Gives labels to rows: the temperature, the prior, the rule and the abstention of a decision, in this order.

use rayon::prelude::*;

use super::posteriors::{Prior, posteriors};
use super::rule::Rule;

/// What a fit gives.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fitted {
    pub temperature: f64,
    pub prior: Option<Prior>,
    pub rule: Rule,
}

/// What several rows are given.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The labels, `[N]`, also of rows where it abstains.
    pub predicted: Vec<u32>,
    /// `[N]`
    pub abstained: Vec<bool>,
    /// Log-probabilities `[N, C]`, with temperature and prior.
    pub log_p: Vec<f64>,
}

/// `logits` `[N, C]` → labels and probabilities.
pub(super) fn decide(fitted: &Fitted, logits: &[f32], (classes, abstain): (usize, Option<f64>)) -> Decided {
    let shift = fitted.prior.as_ref().map(Prior::shift);
    let log_p = posteriors(logits, classes, (fitted.temperature, shift.as_deref()));
    let predicted: Vec<u32> =
        log_p.par_chunks(classes).with_min_len(1024).map(|row| fitted.rule.choose(row) as u32).collect();
    let is_unsure = |(row, &label): (&[f64], &u32)| abstain.is_some_and(|least| row[label as usize].exp() < least);
    let abstained = log_p.chunks(classes).zip(&predicted).map(is_unsure).collect();
    Decided { predicted, abstained, log_p }
}
