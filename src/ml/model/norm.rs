//! Layer normalization over the hidden axis.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, module::layer_norm};

use super::linear::empty;

/// `y = (x − mean) / √(variance + ε) · weight + bias` over the last axis (Ba et al. 2016).
#[derive(Module, Debug)]
pub struct LayerNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
    pub epsilon: f64,
}

impl LayerNorm {
    /// A layer whose values are still to be filled in.
    pub fn empty(width: usize, epsilon: f64, device: &Device) -> Self {
        LayerNorm { weight: empty([width], device), bias: empty([width], device), epsilon }
    }

    /// `x` `[.., H]` → `[.., H]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        layer_norm(x, self.weight.val(), Some(self.bias.val()), self.epsilon)
    }
}
