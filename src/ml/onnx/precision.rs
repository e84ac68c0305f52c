//! The number type of a graph.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tensor::Type;

/// The number type of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats, for GPUs; on most CPUs ONNX Runtime converts them to 32 bits to compute.
    F16,
    /// Weights and tables as 8-bit integers and integer products; everything else in 32-bit floats.
    Int8,
}

impl Precision {
    /// The type of all values that are not integers.
    pub fn float(self) -> Type {
        match self {
            Precision::F16 => Type::Float16,
            Precision::F32 | Precision::Int8 => Type::Float,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::Int8 => "int8",
        })
    }
}
