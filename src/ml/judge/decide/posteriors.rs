//! Probabilities from logits: divided by a temperature, and moved to other class frequencies.

use anyhow::{Result, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::compute::numbers::log_softmax;

/// The class frequencies to expect, and those of the rows that the model was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// `[C]`, sums to 1.
    pub expected: Vec<f64>,
    /// `[C]`, sums to 1.
    pub trained: Vec<f64>,
}

impl Prior {
    /// What to add to the log-probabilities: ln(expected / trained), `[C]`.
    pub(super) fn shift(&self) -> Vec<f64> {
        self.expected.iter().zip(&self.trained).map(|(new, old)| (new / old).ln()).collect()
    }

    pub(super) fn check(&self, labels: &[String]) -> Result<()> {
        ensure!(
            self.expected.len() == labels.len() && self.trained.len() == labels.len(),
            "the prior has {} and {} values for {} labels",
            self.expected.len(),
            self.trained.len(),
            labels.len()
        );
        for ((new, old), label) in self.expected.iter().zip(&self.trained).zip(labels) {
            ensure!(
                *new > 0.0 && *new <= 1.0,
                "the prior of label `{label}` is {new}; it must be above 0 and at most 1"
            );
            ensure!(
                *old > 0.0 && *old <= 1.0,
                "the share of label `{label}` in the training rows is {old}, so the probabilities of that label cannot be \
                 moved to its prior"
            );
        }
        Ok(())
    }
}

/// Log-probabilities `[N, C]` of `logits` `[N, C]` at a temperature: log softmax(log softmax(logits / T) + shift).
pub(super) fn posteriors(logits: &[f32], classes: usize, (temperature, shift): (f64, Option<&[f64]>)) -> Vec<f64> {
    let mut out = vec![0.0; logits.len()];
    out.par_chunks_mut(classes).zip(logits.par_chunks(classes)).with_min_len(1024).for_each(|(to, row)| {
        let scaled: Vec<f64> = row.iter().map(|&z| f64::from(z) / temperature).collect();
        let mut log_p = log_softmax(&scaled);
        if let Some(shift) = shift {
            let shifted: Vec<f64> = log_p.iter().zip(shift).map(|(l, s)| l + s).collect();
            log_p = log_softmax(&shifted);
        }
        to.copy_from_slice(&log_p);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prior_moves_the_odds_by_its_ratio() {
        let prior = Prior { expected: vec![0.9, 0.1], trained: vec![0.5, 0.5] };
        let labels = ["a", "b"].map(String::from);
        prior.check(&labels).unwrap();
        let log_p = posteriors(&[2.0, 2.0], 2, (2.0, Some(&prior.shift())));
        let p: Vec<f64> = log_p.iter().map(|l| l.exp()).collect();
        assert!((p[0] - 0.9).abs() < 1e-12 && (p[1] - 0.1).abs() < 1e-12, "{p:?}");
        let wrong = Prior { trained: vec![1.0, 0.0], ..prior.clone() };
        assert_eq!(
            wrong.check(&labels).unwrap_err().to_string(),
            "the share of label `b` in the training rows is 0, so the probabilities of that label cannot be moved to its prior"
        );
        let wrong = Prior { expected: vec![1.0, 0.0], ..prior };
        assert_eq!(
            wrong.check(&labels).unwrap_err().to_string(),
            "the prior of label `b` is 0; it must be above 0 and at most 1"
        );
    }
}
