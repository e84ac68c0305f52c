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
        let is_share = |x: &f64| (0.0..=1.0).contains(x);
        ensure!(self.expected.iter().chain(&self.trained).all(is_share), "a frequency is not from 0 to 1");
        for ((new, old), label) in self.expected.iter().zip(&self.trained).zip(labels) {
            ensure!(
                *old > 0.0 || *new == 0.0,
                "the model was trained on no row of label `{label}`, so its probabilities cannot be moved to the frequency \
                 {new} of that label"
            );
        }
        Ok(())
    }
}

/// Log-probabilities `[N, C]` of `logits` `[N, C]` at a temperature: log softmax(logits / T + shift). The shift of a prior
/// may be −∞, which makes a probability 0.
pub(super) fn posteriors(logits: &[f32], classes: usize, (temperature, shift): (f64, Option<&[f64]>)) -> Vec<f64> {
    let mut out = vec![0.0; logits.len()];
    out.par_chunks_mut(classes).zip(logits.par_chunks(classes)).with_min_len(1024).for_each(|(to, row)| {
        let scaled: Vec<f64> = match shift {
            None => row.iter().map(|&z| f64::from(z) / temperature).collect(),
            Some(shift) => {
                // A temperature near zero makes huge numbers; the shift counts only if they are compared among themselves.
                let log_p = log_softmax(&row.iter().map(|&z| f64::from(z) / temperature).collect::<Vec<_>>());
                // 0 + 0/0 would be NaN: a class that was not trained and is not expected has probability 0.
                log_p.iter().zip(shift).map(|(l, s)| if s.is_nan() { f64::NEG_INFINITY } else { l + s }).collect()
            }
        };
        to.copy_from_slice(&log_softmax(&scaled));
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prior_moves_the_odds_by_its_ratio() {
        let prior = Prior { expected: vec![0.9, 0.1, 0.0], trained: vec![0.5, 0.5, 0.0] };
        let labels = ["a", "b", "c"].map(String::from);
        prior.check(&labels).unwrap();
        let log_p = posteriors(&[2.0, 2.0, 9.0], 3, (2.0, Some(&prior.shift())));
        let p: Vec<f64> = log_p.iter().map(|l| l.exp()).collect();
        assert!((p[0] - 0.9).abs() < 1e-12 && (p[1] - 0.1).abs() < 1e-12 && p[2] == 0.0, "{p:?}");
        let wrong = Prior { expected: vec![0.5, 0.0, 0.5], ..prior };
        assert_eq!(
            wrong.check(&labels).unwrap_err().to_string(),
            "the model was trained on no row of label `c`, so its probabilities cannot be moved to the frequency 0.5 of that label"
        );
    }
}
