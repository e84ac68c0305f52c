//! The machine learning: models, training, compression and data; knows no stages, no cache, no TOML.

pub mod data;
pub mod device;
pub mod dropout;
pub mod model;
pub mod tokenizer;
pub mod watch;
