//! The machine learning: models, training, compression and data; knows no stages, no cache, no TOML.

pub mod classifier;
pub mod data;
pub mod device;
pub mod dropout;
pub mod lora;
pub mod model;
pub mod prune;
pub mod quantize;
pub mod tokenizer;
pub mod batch;
pub mod checkpoint;
pub mod fit;
pub mod metrics;
pub mod objective;
pub mod optimizer;
pub mod schedule;
pub mod watch;
