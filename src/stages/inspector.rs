//! Models looked at from outside: what `pipe inspect` and `pipe diagnose` tell.

pub use pipe_ml::judge::diagnose::{Diagnosis, Drift, NotComparable, TensorDrift, diagnose};
pub use pipe_ml::judge::inspect::{Depth, Inspection, Tensor, What, inspect};
