//! The table that turns token ids into vectors.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, module::embedding};

use super::linear::empty;

/// A table `[V, H]`, one row per id.
#[derive(Module, Debug)]
pub struct Embedding {
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// A table whose values are still to be filled in.
    pub fn empty(rows: usize, width: usize, device: &Device) -> Self {
        Embedding { weight: empty([rows, width], device) }
    }

    /// `ids` `[B, T]` → `[B, T, H]`
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        embedding(self.weight.val(), ids)
    }

    /// The vector of one id, `[1, 1, H]`.
    pub fn row(&self, id: usize) -> Tensor<3> {
        self.weight.val().narrow(0, id, 1).unsqueeze()
    }
}
