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
mod scorer;
mod session;
#[cfg(test)]
mod session_tests;
mod stored;
mod tensor;
#[cfg(test)]
mod tests;

pub use self::convert::{Converted, MODEL, convert};
use self::file::EXTERNAL;
pub use self::precision::Precision;
pub use self::scorer::Scorer;
pub use self::session::Session;
