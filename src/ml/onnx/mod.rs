//! Converts classifiers to ONNX graphs, for ONNX Runtime and other engines.

mod attention;
mod convert;
mod deberta;
mod family;
mod file;
mod graph;
mod layers;
mod precision;
mod protobuf;
mod tensor;
#[cfg(test)]
mod tests;

pub use self::convert::{Converted, MODEL, convert};
pub use self::precision::Precision;
