//! What `pipe inspect` and `pipe diagnose` use of `ml`.

pub use pipe_ml::judge::diagnose::{Diagnosis, Drift, NotComparable, TensorDrift, diagnose};
pub use pipe_ml::judge::inspect::{Depth, Inspection, Tensor, What, inspect};
