//! The machine learning: models, training, compression and data; knows no stages, no cache, no TOML.

pub mod batch;
pub mod checkpoint;
pub mod data;
pub mod device;
pub mod dropout;
pub mod fit;
pub mod metrics;
pub mod model;
pub mod objective;
pub mod optimizer;
pub mod schedule;
pub mod watch;
