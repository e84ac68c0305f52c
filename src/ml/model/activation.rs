//! The activation functions that `config.json` can name.

use anyhow::{Result, bail};
use burn::tensor::{Tensor, activation};

use super::fields::Fields;
use crate::compute::kernel;

/// The function between the two halves of a feed-forward, or after a pooler's layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    Relu,
    Silu,
    Tanh,
}

/// Names as in `ACT2FN` of transformers' `activations.py`.
const NAMES: &[(&str, Activation)] = &[
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
];

impl Activation {
    /// The function that a field of `config.json` names.
    pub fn read(fields: &Fields, field: &'static str, default: &'static str) -> Result<Self> {
        let name = fields.text(field, default)?;
        match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, activation)) => Ok(*activation),
            None => {
                let known: Vec<&str> = NAMES.iter().map(|(known, _)| *known).collect();
                bail!("field `{field}` is \"{name}\"; known functions: {}", known.join(", "))
            }
        }
    }

    /// Applies the function elementwise.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Activation::Gelu if kernel::fuses(&x) => kernel::gelu(x),
            Activation::Gelu => activation::gelu(x),
            Activation::GeluTanh => activation::gelu_approximate(x),
            Activation::Relu => activation::relu(x),
            Activation::Silu => activation::silu(x),
            Activation::Tanh => x.tanh(),
        }
    }
}
