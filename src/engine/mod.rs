//! Pipelines, fingerprints, cache and scheduling. Knows nothing of machine learning and prints nothing.

pub mod diagnostic;
pub mod event;
pub mod kind;
pub mod manifest;
pub mod value;
