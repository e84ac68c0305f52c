//! The machine learning: models, training, compression and data; knows no stages, no cache, no TOML.

pub mod device;
pub mod dropout;
pub mod model;
pub mod watch;
