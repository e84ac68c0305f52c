//! What a model is worth and what is in it: inference, metrics, significance, inspection.

pub mod by_source;
pub mod calibration;
pub mod classifier;
pub mod decide;
pub mod diagnose;
pub mod errors;
pub mod inspect;
pub mod metrics;
pub mod readable;
pub mod repeated;
pub mod significance;
