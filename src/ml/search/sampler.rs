//! What to try next.

use super::domain::{DIGITS, MOST_DIGITS};
use super::history::Observed;
use super::random::Streams;
use super::space::{Point, Space};
use super::tpe::Estimator;

/// How the next point is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The tree-structured Parzen estimator, for as few trials as fine-tuning can afford.
    Tpe,
    Random,
    /// Every point of a finite space in order, the last parameter changing fastest.
    Grid,
}

/// Suggests points. Suggestion k depends only on the seed, k, the space and the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    pub method: Method,
    /// The first so many trials of [`Method::Tpe`] are random ones.
    pub startup: usize,
    pub seed: u64,
    pub maximize: bool,
}

/// Rounds of random draws before the rest of a finite space is enumerated, or floats get another digit.
const ROUNDS: usize = 4;
/// Draws in a round of random points.
const DRAWS: usize = 24;
/// Of a finite space, at most so many points that were not tried are compared.
const COMPARED: usize = 4096;

impl Sampler {
    /// The point of trial `history.len()`: none that is in the history, also not one that is pending. `None` if all points of
    /// a finite space were tried. The space must have no [`Space::problem`], and each point of the history as many values as
    /// the space has parameters; values outside their domain count as the nearest inside.
    pub fn suggest(&self, space: &Space, history: &[Observed]) -> Option<Point> {
        let is_new = |point: &Point| history.iter().all(|observed| observed.point != *point);
        let mut streams = Streams::of(space, self.seed, history.len() as u64);
        match self.method {
            Method::Grid => space.points().find(is_new),
            Method::Tpe if history.len() >= self.startup => {
                let estimator = Estimator::of(space, history, self.maximize);
                let drawn = rounds(space).find_map(|digits| {
                    estimator.candidates(&mut streams, digits).into_iter().find(|point| is_new(point))
                });
                let rest = || space.points().filter(is_new).take(COMPARED).collect();
                drawn.or_else(|| estimator.sorted(rest()).into_iter().next())
            }
            Method::Tpe | Method::Random => {
                let mut draw = |digits| {
                    space.build(|index, parameter| {
                        Some(parameter.domain.at(streams.parameters[index].uniform(), digits))
                    })
                };
                let drawn = rounds(space).find_map(|digits| (0..DRAWS).map(|_| draw(digits)).find(is_new));
                drawn.or_else(|| {
                    let mut rest: Vec<Point> = space.points().filter(is_new).take(COMPARED).collect();
                    let last = rest.len().checked_sub(1)?;
                    let place = (streams.own.uniform() * rest.len() as f64) as usize;
                    Some(rest.swap_remove(place.min(last)))
                })
            }
        }
    }
}

/// The digits of floats in each round of draws. In a finite space more of them bring nothing new.
fn rounds(space: &Space) -> impl Iterator<Item = usize> {
    let last = if space.size().is_some() { DIGITS } else { MOST_DIGITS };
    (DIGITS..=last).flat_map(|digits| std::iter::repeat_n(digits, ROUNDS))
}
