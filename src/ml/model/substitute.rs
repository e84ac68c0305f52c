//! What replaces the float product of a linear layer: integer weights, or a probe that measures the error of rounding.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::compute::int4;
use crate::compute::int8::{Layer, Probe};
use crate::compute::kernel;

/// What replaces a linear layer's plain float product.
#[derive(Debug, Clone)]
pub enum Substitute {
    /// A product with integer weights.
    Integers(Integers),
    /// The float product, which the probe compares with rounded ones.
    Measured(Arc<Probe>),
}

impl Substitute {
    /// `x` `[N, in]`, `bias` `[out]` → `[N, out]`; `float` is the product in floats.
    pub fn forward(&self, x: Tensor<2>, bias: Tensor<1>, float: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        match self {
            Substitute::Integers(Integers::Int8(layer)) if kernel::fuses(&x) => {
                kernel::integer_linear(x, vec![(layer.clone(), bias)])
            }
            Substitute::Integers(Integers::Int4(weight)) if kernel::fuses(&x) => {
                kernel::unpacked_linear(x, weight, bias)
            }
            Substitute::Integers(_) => float(x),
            Substitute::Measured(probe) => {
                let y = float(x.clone());
                probe.see(&values(x), &values(bias), &values(y.clone()));
                y
            }
        }
    }
}

/// The integer weight of a linear layer.
#[derive(Debug, Clone)]
pub enum Integers {
    /// 8-bit weights; activations are integers too.
    Int8(Arc<Layer>),
    /// 4-bit weights; activations are floats.
    Int4(Arc<int4::Weight>),
}

impl Integers {
    /// `[in, out]`
    pub fn shape(&self) -> [usize; 2] {
        match self {
            Integers::Int8(layer) => [layer.weight.inputs(), layer.weight.outputs()],
            Integers::Int4(weight) => [weight.inputs(), weight.outputs()],
        }
    }

    /// The dequantized weights `[in, out]`.
    pub fn to_floats(&self) -> Vec<f32> {
        match self {
            Integers::Int8(layer) => layer.weight.to_floats(),
            Integers::Int4(weight) => weight.to_floats(),
        }
    }

    /// How many of the weights are not zero.
    pub fn non_zero(&self) -> usize {
        match self {
            Integers::Int8(layer) => layer.weight.non_zero(),
            Integers::Int4(weight) => weight.non_zero(),
        }
    }
}

/// The values in row-major order.
fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap_or_default()
}
