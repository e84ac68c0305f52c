//! What `pipe inspect` and `pipe diagnose` use of `ml`.

pub use crate::ml::diagnose::{Diagnosis, Drift, NotComparable, TensorDrift, diagnose};
pub use crate::ml::inspect::{Depth, Inspection, Tensor, What, inspect};
