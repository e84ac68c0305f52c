//! Two definitions compared without running anything: what changed, and what that invalidates.
//!
//! `pairing` finds which stage of the base is which of the head, renames included. `change` and `edges` compare the
//! pairs line by line of their manifests, with the names of inputs in place of their digests. `comparison` puts that
//! together for people, `closure` follows it downstream, `side` reads the two sides and `review` compares them
//! under every profile and asks the cache.

mod change;
mod closure;
mod comparison;
mod edges;
mod pairing;
mod review;
mod side;

pub use change::{Change, Quiet, What};
pub use comparison::{Comparison, StageDiff, Status, Touched};
pub use review::{Affected, Mark, Node, ProfileDiff, Review, State};
pub use side::{Inputs, Pair, Reading, Side, Text};
