//! Layer normalization over the hidden axis.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, module::layer_norm};

use super::linear::empty;
use crate::compute::dropout::Pass;
use crate::compute::kernel;

/// `y = (x − mean) / √(variance + ε) · weight + bias` over the last axis (Ba et al. 2016).
#[derive(Module, Debug)]
pub(crate) struct LayerNorm {
    pub weight: Param<Tensor<1>>,
    pub bias: Param<Tensor<1>>,
    pub epsilon: f64,
}

impl LayerNorm {
    /// A layer without values; the caller fills them in.
    pub(crate) fn empty(width: usize, epsilon: f64, device: &Device) -> Self {
        LayerNorm { weight: empty([width], device), bias: empty([width], device), epsilon }
    }

    /// `x` `[.., H]` → `[.., H]`.
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        if kernel::fuses(&x) {
            return kernel::norm(x, (weight, bias), self.epsilon);
        }
        layer_norm(x, weight, Some(bias), self.epsilon)
    }

    /// Normalizes `dropout(x) + residual`: `x` and `residual` `[.., H]` → `[.., H]`.
    pub(crate) fn add<const D: usize>(
        &self,
        x: Tensor<D>,
        residual: Tensor<D>,
        (pass, p): (&mut Pass, f64),
    ) -> Tensor<D> {
        if kernel::fuses(&x) && kernel::fuses(&residual) {
            let affine = (self.weight.val(), self.bias.val());
            return kernel::add_norm((x, residual), affine, self.epsilon, pass.mask(p));
        }
        self.forward(pass.dropout(x, p) + residual)
    }
}
