//! Sparsity that rises during training.

use anyhow::{Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A cubic rise of the sparsity: fast at first, while there is much to remove, and slow at the end.
///
/// Source: Zhu and Gupta, "To prune, or not to prune", 2017, equation 1, from 0 at the first optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gradual {
    /// How often weights are removed, at even intervals.
    pub steps: u64,
    /// Share of all optimizer steps after which the full sparsity is reached; from then on the zeros are held.
    #[serde(default = "half")]
    pub until: f64,
}

fn half() -> f64 {
    0.5
}

impl Gradual {
    pub fn check(self) -> Result<()> {
        let Self { steps, until } = self;
        ensure!(steps > 0, "gradual.steps is 0; at least 1 is needed");
        ensure!(until > 0.0 && until <= 1.0, "gradual.until is {until}; it must be above 0 and at most 1");
        Ok(())
    }

    /// The optimizer step of `total` before which the full sparsity is reached; at least one step follows.
    pub fn last(self, total: u64) -> u64 {
        ((self.until * total as f64).floor() as u64).min(total.saturating_sub(1))
    }

    /// The share of the sparsity to reach before optimizer step `step` (from 0) of `total`, or `None` if this step
    /// removes no weights.
    pub fn share(self, step: u64, total: u64) -> Option<f64> {
        let place = |k: u64| k * self.last(total) / self.steps;
        let k = (1..=self.steps).find(|&k| place(k) == step)?;
        let rest = 1.0 - k as f64 / self.steps as f64;
        Some(1.0 - rest.powi(3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sparsity_follows_zhu_and_guptas_formula() {
        let gradual = Gradual { steps: 4, until: 0.8 };
        let due = |total| (0..total).filter_map(|step| Some((step, gradual.share(step, total)?))).collect::<Vec<_>>();
        // s_t = s_f + (s_i − s_f)(1 − (t − t₀) / (n·Δt))³ with s_i = 0, t₀ = 0, n = 4, Δt = 20, over s_f.
        let formula = |t: f64| 1.0 - (1.0 - t / 80.0).powi(3);
        let expected: Vec<(u64, f64)> = [20, 40, 60, 80].map(|t| (t, formula(t as f64))).to_vec();
        assert_eq!(due(100), expected);
        assert_eq!(due(100).iter().map(|(_, s)| *s).collect::<Vec<_>>(), [0.578125, 0.875, 0.984375, 1.0]);
        // With few steps, the last one still trains the remaining weights.
        assert_eq!(Gradual { steps: 3, until: 1.0 }.last(10), 9);
        assert_eq!(due(7).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2, 3, 5]);
        assert_eq!(due(7).last(), Some(&(5, 1.0)));
    }
}
