//! Converts classifiers to ONNX graphs, for ONNX Runtime and other engines.

mod attention;
mod convert;
mod deberta;
mod family;
mod file;
mod graph;
mod layers;
mod protobuf;
mod tensor;
#[cfg(test)]
mod tests;

pub use convert::{Converted, MODEL, Precision, convert};
