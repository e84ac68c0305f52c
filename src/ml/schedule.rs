//! How the learning rate moves over a run: warm-up, then a decay.

use serde::{Deserialize, Serialize};

/// The shape of the learning rate after warm-up.
///
/// Source: `get_*_schedule_with_warmup` in transformers `optimization.py`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Down to zero in a straight line.
    #[default]
    Linear,
    /// Half a cosine wave down to zero.
    Cosine,
    /// As many half cosine waves as `cycles` says, each from the full rate down to zero.
    CosineWithRestarts { cycles: u32 },
    /// The full rate to the end.
    Constant,
}

/// How long the rate climbs from zero before the schedule takes over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warmup {
    /// This many optimizer steps.
    Steps(u64),
    /// This share of all optimizer steps, rounded up as the Trainer does.
    Ratio(f64),
}

impl Default for Warmup {
    fn default() -> Self {
        Self::Steps(0)
    }
}

impl Warmup {
    /// Warm-up steps in a run of `total` steps.
    pub fn steps(self, total: u64) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Ratio(ratio) => (total as f64 * ratio).ceil() as u64,
        }
    }
}

impl Schedule {
    /// The share of the full learning rate that optimizer step `step` (from 0) of `total` uses.
    pub fn factor(self, step: u64, warmup: Warmup, total: u64) -> f64 {
        let warmup = warmup.steps(total);
        if step < warmup {
            return step as f64 / warmup.max(1) as f64;
        }
        let length = total.saturating_sub(warmup).max(1);
        let progress = (step - warmup) as f64 / length as f64;
        let wave = |turns: f64| (0.5 * (1.0 + (std::f64::consts::PI * turns).cos())).max(0.0);
        match self {
            Self::Constant => 1.0,
            Self::Linear => (1.0 - progress).max(0.0),
            Self::Cosine => wave(progress),
            Self::CosineWithRestarts { .. } if progress >= 1.0 => 0.0,
            Self::CosineWithRestarts { cycles } => wave((f64::from(cycles) * progress) % 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: Schedule, warmup: Warmup) -> Vec<f64> {
        (0..10).map(|step| (schedule.factor(step, warmup, 10) * 1e4).round() / 1e4).collect()
    }

    // Expected values: the lambdas of transformers 4.x `optimization.py`, by hand.
    #[test]
    fn linear_climbs_then_falls_to_zero() {
        let rates = rates(Schedule::Linear, Warmup::Steps(2));
        assert_eq!(rates, [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]);
        assert_eq!(Schedule::Linear.factor(10, Warmup::Steps(2), 10), 0.0);
    }

    #[test]
    fn cosine_halves_midway() {
        let rates = rates(Schedule::Cosine, Warmup::Steps(0));
        assert_eq!(rates, [1.0, 0.9755, 0.9045, 0.7939, 0.6545, 0.5, 0.3455, 0.2061, 0.0955, 0.0245]);
    }

    #[test]
    fn restarts_return_to_the_full_rate() {
        let rates = rates(Schedule::CosineWithRestarts { cycles: 2 }, Warmup::Steps(0));
        assert_eq!(rates, [1.0, 0.9045, 0.6545, 0.3455, 0.0955, 1.0, 0.9045, 0.6545, 0.3455, 0.0955]);
    }

    #[test]
    fn constant_stays_after_its_warmup() {
        let rates = rates(Schedule::Constant, Warmup::Ratio(0.25)); // 2.5 steps: 3
        assert_eq!(rates, [0.0, 0.3333, 0.6667, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    }
}
