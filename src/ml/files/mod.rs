//! Weights on disk and in main memory: safetensors, and PyTorch's pickles read without running them.

pub(crate) mod host;
pub(crate) mod pickle;
pub mod pointer;
pub mod weights;
