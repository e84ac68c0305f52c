//! The number format of a training step's matrix products.

use anyhow::{Result, ensure};
use burn::tensor::{Device, FloatDType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The format in which a step computes its matrix products. Weights, gradients, the optimizer's state and all sums
/// (softmax, LayerNorm, loss) are f32 with either format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 24 bits of mantissa.
    #[default]
    F32,
    /// 8 bits of mantissa and the range of f32 (Micikevicius et al. 2018, "Mixed Precision Training"; bfloat16 needs no
    /// loss scaling).
    Bf16,
}

impl Precision {
    pub fn is_f32(&self) -> bool {
        *self == Self::F32
    }

    /// `a` `[.., N, K]`, `b` `[.., K, M]`, both f32 → `[.., N, M]` in f32. The backward pass uses the same precision.
    pub fn matmul<const D: usize>(self, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
        match self {
            Self::F32 => a.matmul(b),
            Self::Bf16 => a.cast(FloatDType::BF16).matmul(b.cast(FloatDType::BF16)).cast(FloatDType::F32),
        }
    }

    /// Check that `device` can compute in this format.
    pub fn check(self, device: &Device) -> Result<()> {
        ensure!(
            self.is_f32() || device.supports_dtype(FloatDType::BF16),
            "precision is bf16, but this device cannot compute in bf16; set precision = \"f32\""
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_keeps_eight_bits_of_the_product_and_of_its_gradients() {
        let device = Device::flex().autodiff();
        assert!(Precision::Bf16.check(&device).is_ok());
        const THIRD: f32 = 171.0 / 512.0; // What bf16 makes of 1/3.
        let a = Tensor::<2>::from_data([[1.0f32 / 3.0, 2.0]], &device).require_grad();
        let b = Tensor::<2>::from_data([[3.0f32], [1.0 / 3.0]], &device).require_grad();
        let y = Precision::Bf16.matmul(a.clone(), b.clone());
        let grads = y.clone().sum().backward();
        let values = |x: Tensor<2>| x.into_data().try_into_vec::<f32>().unwrap(); // f32, though computed in bf16.
        assert_eq!(values(y), [1.671875]);
        assert_eq!(values(a.grad(&grads).unwrap()), [3.0, THIRD]);
        assert_eq!(values(b.grad(&grads).unwrap()), [THIRD, 2.0]);
    }
}
