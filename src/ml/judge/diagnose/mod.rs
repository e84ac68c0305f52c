//! Measures how far each part of a model moved between two checkpoints.

mod diagnosis;
mod side;

pub use self::diagnosis::{Diagnosis, Drift, FROZEN, NotComparable, PartDrift, TensorDrift, diagnose};
