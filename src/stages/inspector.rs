//! Models looked at from outside: what `pipe inspect` and `pipe diagnose` tell.

pub use crate::ml::diagnose::{Diagnosis, Drift, NotComparable, TensorDrift, diagnose};
pub use crate::ml::inspect::{Depth, Inspection, Tensor, What, inspect};
