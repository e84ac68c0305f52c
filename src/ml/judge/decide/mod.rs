//! From scores to decisions: temperature, thresholds, weights, costs and priors, fitted on labelled rows.

mod apply;
mod counts;
mod decision;
mod fit;
mod folds;
mod gain;
mod labelled;
#[cfg(test)]
mod peers;
mod posteriors;
mod rule;
mod scaling;
mod thresholds;
mod weights;

pub use apply::Decided;
pub use decision::{Decision, FittedOn, Given};
pub use fit::{Fit, Method};
pub use gain::{Criterion, Figure, Gain, out_of_fold};
pub use labelled::Labelled;
pub use posteriors::Prior;
pub use rule::Rule;
pub use scaling::{BOUNDS, temperature};
