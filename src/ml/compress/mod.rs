//! Smaller models: low-rank adapters, pruning, quantization, students.

pub mod lora;
pub mod prune;
pub mod quantize;
pub mod student;
