//! The tree-structured Parzen estimator: try next what is likely among good points and unlikely among the others.

use libm::{ceil, sqrt};

use super::history::{Observed, ranked};
use super::parzen::Mixture;
use super::random::Streams;
use super::space::{Point, Space};

/// Points drawn from the density of good ones, of which the best is suggested.
const CANDIDATES: usize = 24;
/// Of n trials, 0.5 √n are good ones. Optuna takes a tenth, which leaves a single good one in the first ten trials: its kernel
/// has no neighbour that says how wide it should be, and is half the range.
const GOOD: f64 = 0.5;
const MOST_GOOD: usize = 25;
/// The narrowest kernel of n points is the range over n + 6. Optuna's n + 2 are too wide for a handful of points.
const NARROW: f64 = 6.0;

/// The two densities of a history.
///
/// Bergstra et al. (2011), "Algorithms for hyper-parameter optimization", with one density over all parameters (Falkner et al.
/// 2018) and running trials among the bad ones, so that parallel trials keep apart ("constant liar").
pub(super) struct Estimator<'a> {
    good: Mixture<'a>,
    bad: Mixture<'a>,
}

impl<'a> Estimator<'a> {
    pub(super) fn of(space: &'a Space, history: &'a [Observed], maximize: bool) -> Self {
        let ranked = ranked(history, maximize);
        let with_value = ranked.iter().filter(|index| history[**index].outcome.has_value()).count();
        let wanted = (ceil(GOOD * sqrt(ranked.len() as f64)) as usize).min(MOST_GOOD);
        let mut is_good = vec![false; history.len()];
        // A trial without a value is never a good one, not even if all fail.
        ranked[..wanted.min(with_value)].iter().for_each(|index| is_good[*index] = true);
        let points = |good: bool| -> Vec<&Point> {
            let chosen = history.iter().zip(&is_good).filter(|(_, is_good)| **is_good == good);
            chosen.map(|(observed, _)| &observed.point).collect()
        };
        Self { good: Mixture::of(space, &points(true), NARROW), bad: Mixture::of(space, &points(false), NARROW) }
    }

    /// Draw candidates, best first.
    pub(super) fn candidates(&self, streams: &mut Streams, digits: usize) -> Vec<Point> {
        let drawn = (0..CANDIDATES)
            .map(|_| {
                let u = streams.own.uniform();
                self.good.sample(u, digits, |index| streams.parameters[index].uniform())
            })
            .collect();
        self.sorted(drawn)
    }

    /// These points, best first.
    pub(super) fn sorted(&self, points: Vec<Point>) -> Vec<Point> {
        let (good, bad) = (self.good.log_densities(&points), self.bad.log_densities(&points));
        let mut scored: Vec<(f64, Point)> =
            (points.into_iter().enumerate()).map(|(index, point)| (good[index] - bad[index], point)).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.into_iter().map(|(_, point)| point).collect()
    }
}
