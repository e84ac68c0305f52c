//! Compares two definitions without running anything: what changed, and what that invalidates.
//!
//! `pairing` finds which stage of the base is which stage of the head, including renamed stages. `change` and `edges`
//! compare the pairs by the lines of their manifests, with the names of inputs in place of digests. `comparison`
//! collects the differences for people, `closure` follows them downstream, `side` reads the two sides, and `review`
//! compares them under every profile and consults the cache.

mod change;
mod closure;
mod comparison;
mod edges;
mod pairing;
mod review;
mod side;

pub use change::{Change, Quiet, Touched, What};
pub use comparison::{Comparison, StageDiff, Status};
pub use review::{Affected, Mark, Node, ProfileDiff, Review, State};
pub use side::{Inputs, Pair, Reading, Side, Text};
