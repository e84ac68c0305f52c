//! The machine learning: models, training, compression and data; knows no stages, no cache, no TOML.
//!
//! The rooms: `compute` (devices, numbers, kernels), `files` (weights on disk), `text` (data, tokenizers, batches), `model`
//! (the families and what they share), `hub` (downloads), `train` (the one loop), `compress` (LoRA, pruning, quantization),
//! `judge` (metrics, inference, inspection), `onnx` and `search` (which hyper-parameters to try next). Long work reports to a
//! [`watch::Watch`].

// What the crate does not offer to others is not `pub`; helpers of tests may be.
#![cfg_attr(not(test), warn(unreachable_pub))]

pub mod compress;
pub mod compute;
pub mod files;
pub mod hub;
pub mod judge;
pub mod model;
pub mod onnx;
pub mod search;
pub mod text;
pub mod train;
pub mod watch;
