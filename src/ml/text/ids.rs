//! The token ids of a batch on a device, with their types if the rows are pairs of texts.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Token ids `[B, T]`, and for pairs of texts which of the two each token belongs to.
#[derive(Debug, Clone)]
pub struct Ids {
    /// `[B, T]`
    pub tokens: Tensor<2, Int>,
    /// `[B, T]`, the row of each token in the model's table of types; `None` if all are 0.
    pub types: Option<Tensor<2, Int>>,
}

impl From<Tensor<2, Int>> for Ids {
    /// Tokens of single texts.
    fn from(tokens: Tensor<2, Int>) -> Self {
        Ids { tokens, types: None }
    }
}

impl Ids {
    /// Copy numbers, `[B, T]` row by row, to a device. No `types` means that all are 0.
    pub(crate) fn on(device: &Device, shape: [usize; 2], tokens: Vec<u32>, types: Vec<u32>) -> Self {
        let tensor = |numbers: Vec<u32>| Tensor::from_data(TensorData::new(numbers, shape), device);
        Ids { tokens: tensor(tokens), types: (!types.is_empty()).then(|| tensor(types)) }
    }

    /// `[B, T]`
    pub(crate) fn dims(&self) -> [usize; 2] {
        self.tokens.dims()
    }

    /// The same ids for a model without a graph.
    pub(crate) fn inner(self) -> Self {
        Ids { tokens: self.tokens.inner(), types: self.types.map(Tensor::inner) }
    }
}
