//! Trials so far and their order from best to worst.

use std::cmp::Ordering;

use super::space::Point;

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// It is complete. NaN counts as [`Outcome::Failed`].
    Value(f64),
    /// It was stopped early, after this rung of a halving, with this value.
    Cut { rung: usize, value: f64 },
    /// It has no value.
    Failed,
    /// It still runs, or its result may not be used yet.
    Pending,
}

/// A trial: where it was, and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    pub point: Point,
    pub outcome: Outcome,
}

impl Outcome {
    /// Class and value, both better if lower; pending ones have none. A trial that was cut at a later rung is better than one
    /// that was cut at an earlier one, as in Optuna, since the values of different rungs do not compare.
    fn key(self, maximize: bool) -> Option<(u64, f64)> {
        let loss = |value: f64| if maximize { -value } else { value };
        match self {
            Self::Pending => None,
            Self::Value(value) if !value.is_nan() => Some((0, loss(value))),
            Self::Cut { rung, value } if !value.is_nan() => {
                Some((u64::MAX - 1 - (rung as u64).min(u64::MAX - 2), loss(value)))
            }
            _ => Some((u64::MAX, 0.0)),
        }
    }

    pub(super) fn has_value(self) -> bool {
        self.key(false).is_some_and(|(class, _)| class != u64::MAX)
    }
}

/// The positions of the trials that ended, best first; of two equal ones the earlier first.
pub(super) fn ranked(history: &[Observed], maximize: bool) -> Vec<usize> {
    let mut keyed: Vec<((u64, f64), usize)> = (history.iter().enumerate())
        .filter_map(|(index, observed)| Some((observed.outcome.key(maximize)?, index)))
        .collect();
    keyed.sort_by(|((class, loss), _), ((other_class, other_loss), _)| {
        class.cmp(other_class).then(loss.partial_cmp(other_loss).unwrap_or(Ordering::Equal))
    });
    keyed.into_iter().map(|(_, index)| index).collect()
}
