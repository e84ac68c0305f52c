//! What a picture shows, and what both pictures have in common.

use pipe_ml::search::{Observed, Outcome, Space};

use crate::draw::number::{ends, short, spread};
pub(super) use crate::draw::style::WIDTH;
use crate::draw::svg::Svg;

/// A finished search.
pub(in crate::stages::search) struct Picture<'a> {
    pub space: &'a Space,
    /// The names of each parameter's choices; empty for a range.
    pub choices: &'a [Vec<String>],
    pub observed: &'a [Observed],
    /// What was optimized: `macro-f1`.
    pub objective: &'a str,
    pub maximize: bool,
}

/// What lies farther below the median than this many times what the best one is above it, is drawn at the edge.
const FAR: f64 = 4.0;

impl Picture<'_> {
    /// The value of a complete trial.
    pub(super) fn value(&self, trial: usize) -> Option<f64> {
        match self.observed[trial].outcome {
            Outcome::Value(value) if value.is_finite() => Some(value),
            _ => None,
        }
    }

    /// Complete trials, best first; of two equal ones the earlier first.
    pub(super) fn ranked(&self) -> Vec<usize> {
        let mut complete: Vec<(f64, usize)> = (0..self.observed.len())
            .filter_map(|trial| Some((self.value(trial)?, trial)))
            .map(|(value, trial)| (if self.maximize { -value } else { value }, trial))
            .collect();
        complete.sort_by(|a, b| a.0.total_cmp(&b.0));
        complete.into_iter().map(|(_, trial)| trial).collect()
    }

    /// The range of values that the picture shows: all but those that are far worse than the others, which would press the
    /// others together.
    pub(super) fn range(&self, others: impl Iterator<Item = f64>) -> (f64, f64) {
        let ranked: Vec<f64> = self.ranked().into_iter().filter_map(|trial| self.value(trial)).collect();
        let (least, most) = ends(ranked.iter().copied().chain(others.filter(|value| value.is_finite())));
        let (Some(best), Some(median)) = (ranked.first(), ranked.get(ranked.len() / 2)) else {
            return if least <= most { spread(least, most) } else { (0.0, 1.0) };
        };
        let limit = median - FAR * (best - median);
        match (self.maximize, best == median) {
            (_, true) => spread(least, most),
            (true, _) => spread(least.max(limit), most),
            (false, _) => spread(least, most.min(limit)),
        }
    }

    /// A picture of this height that is being drawn.
    pub(super) fn begin(&self, title: &str, height: f64) -> Svg {
        Svg::new(title, (WIDTH, height), ("", ""))
    }

    /// `0.8714 (trial 11)`
    pub(super) fn named(&self, trial: usize) -> String {
        self.value(trial).map_or(String::new(), |value| format!("{} (trial {trial})", short(value)))
    }
}
