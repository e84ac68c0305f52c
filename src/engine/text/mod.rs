//! What users write: values with their places, diagnostics and typed parameters.

pub mod diagnostic;
pub mod other_names;
pub mod parameters;
pub mod value;
