//! The machine learning: models, training, compression and data; knows no stages, no cache, no TOML.

pub mod batch;
pub mod checkpoint;
pub mod classifier;
pub mod data;
pub mod device;
pub mod dropout;
pub mod fit;
pub mod lora;
pub mod metrics;
pub mod model;
pub mod objective;
pub mod optimizer;
pub mod prune;
pub mod quantize;
pub mod schedule;
pub mod tokenizer;
pub mod watch;
