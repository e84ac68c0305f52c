//! Machine learning: models, training, compression and data. Knows no stages, no cache and no TOML.

pub mod foreign;
pub mod watch;

pub mod data;
pub mod tokenizer;

pub mod device;
pub mod dropout;
pub mod int4;
pub mod int8;
pub mod kernel;
pub mod model;
pub mod precision;

pub mod batch;
pub mod checkpoint;
pub mod fit;
pub mod guide;
pub mod metrics;
pub mod objective;
pub mod optimizer;
pub mod schedule;
pub mod significance;

pub mod lora;
pub mod onnx;
pub mod prune;
pub mod quantize;
pub mod student;

pub mod classifier;

pub mod diagnose;
pub mod inspect;
