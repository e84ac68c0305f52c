//! The learning rate over a run: warm-up, then decay.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Shapes of the learning rate over a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Down to zero in a straight line.
    #[default]
    Linear,
    /// Half a cosine wave down to zero.
    Cosine,
    /// As many half cosine waves as `cycles`.
    CosineWithRestarts,
    /// The full rate until the end.
    Constant,
}

/// A [`Shape`] with what it needs.
///
/// Source: `get_*_schedule_with_warmup` in transformers `optimization.py`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Falls linearly to zero.
    Linear,
    /// Falls to zero along half a cosine wave.
    Cosine,
    /// `cycles` half cosine waves, each from the full rate down to zero.
    CosineWithRestarts { cycles: u32 },
    /// Keeps the full rate to the end.
    Constant,
}

/// How long the rate climbs from zero before the schedule starts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warmup {
    /// A number of optimizer steps.
    Steps(u64),
    /// A share of all optimizer steps, rounded up as the Trainer does.
    Ratio(f64),
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
    pub fn of(shape: Shape, cycles: u32) -> Self {
        match shape {
            Shape::Linear => Self::Linear,
            Shape::Cosine => Self::Cosine,
            Shape::CosineWithRestarts => Self::CosineWithRestarts { cycles },
            Shape::Constant => Self::Constant,
        }
    }

    /// The factor of the full learning rate at optimizer step `step` (from 0) of `total`.
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

    const RESTARTS: Schedule = Schedule::CosineWithRestarts { cycles: 2 };

    /// The expected factors come from transformers 5: `get_{linear,cosine,constant}_schedule_with_warmup` and
    /// `get_cosine_with_hard_restarts_schedule_with_warmup(num_cycles=2)`, at each step and after the last.
    #[track_caller]
    fn assert_rates<const N: usize>(schedule: Schedule, warmup: u64, expected: [f64; N]) {
        let total = N as u64 - 1;
        for (step, want) in (0..).zip(expected) {
            let got = schedule.factor(step, Warmup::Steps(warmup), total);
            assert!((got - want).abs() < 1e-8, "{schedule:?}, step {step} of {total}: {got}, transformers {want}");
        }
    }

    #[test]
    fn without_warm_up_the_first_step_has_the_full_rate() {
        assert_rates(Schedule::Linear, 0, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]);
        assert_rates(
            Schedule::Cosine,
            0,
            [
                1.0,
                0.975528258,
                0.904508497,
                0.793892626,
                0.654508497,
                0.5,
                0.345491503,
                0.206107374,
                0.095491503,
                0.024471742,
                0.0,
            ],
        );
        assert_rates(
            RESTARTS,
            0,
            [
                1.0,
                0.904508497,
                0.654508497,
                0.345491503,
                0.095491503,
                1.0,
                0.904508497,
                0.654508497,
                0.345491503,
                0.095491503,
                0.0,
            ],
        );
        assert_rates(Schedule::Constant, 0, [1.0; 11]);
    }

    #[test]
    fn warm_up_climbs_from_zero_and_the_shape_takes_the_rest() {
        let then = |rest: [f64; 10]| -> [f64; 13] {
            std::array::from_fn(|step| if step < 3 { step as f64 / 3.0 } else { rest[step - 3] })
        };
        let line = [
            1.0,
            0.888888889,
            0.777777778,
            0.666666667,
            0.555555556,
            0.444444444,
            0.333333333,
            0.222222222,
            0.111111111,
            0.0,
        ];
        assert_rates(Schedule::Linear, 3, then(line));
        let wave = [1.0, 0.96984631, 0.883022222, 0.75, 0.586824089, 0.413175911, 0.25, 0.116977778, 0.03015369, 0.0];
        assert_rates(Schedule::Cosine, 3, then(wave));
        // Nine steps do not divide into whole waves.
        let waves = [1.0, 0.883022222, 0.586824089, 0.25, 0.03015369, 0.96984631, 0.75, 0.413175911, 0.116977778, 0.0];
        assert_rates(RESTARTS, 3, then(waves));
        assert_rates(Schedule::Constant, 3, then([1.0; 10]));
    }

    #[test]
    fn a_warm_up_that_is_longer_than_the_run_never_reaches_the_full_rate() {
        for schedule in [Schedule::Linear, Schedule::Cosine, RESTARTS, Schedule::Constant] {
            assert_rates(schedule, 9, [0.0, 0.111111111, 0.222222222, 0.333333333, 0.444444444, 0.555555556]);
        }
    }

    #[test]
    fn a_ratio_is_rounded_up_as_by_the_trainer() {
        // From `TrainingArguments.get_warmup_steps`; the last product is 7.000000000000001 in Python, too.
        for (ratio, total, expected) in
            [(0.1, 61, 7), (0.25, 10, 3), (0.06, 1, 1), (0.3, 10, 3), (0.0, 9, 0), (0.07, 100, 8)]
        {
            assert_eq!(Warmup::Ratio(ratio).steps(total), expected, "{ratio} of {total}");
        }
    }
}
