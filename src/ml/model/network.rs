//! What every family defines in its own file: the fields of its config, and its modules.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};

use super::encoder::{EncoderConfig, Layers};
use super::fields::Fields;
use super::head::HeadConfig;
use super::linear::Linear;
use super::names::Names;
use crate::compute::dropout::Pass;
use crate::text::ids::Ids;

/// The fields of `config.json` that a family is built from.
pub(super) trait FamilyConfig: Sized {
    /// What the family calls things, in configs and checkpoints.
    const NAMES: Names;

    /// The modules that these fields describe.
    type Network: Network;

    /// Reads the fields; fails on values that would require a computation that is not implemented.
    fn read(fields: &Fields) -> Result<Self>;

    /// The sizes that every family has.
    fn encoder(&self) -> &EncoderConfig;

    /// The longest sequence in tokens, special tokens included.
    fn max_length(&self) -> usize {
        self.encoder().max_position_embeddings
    }

    /// The modules without values; the caller fills them in.
    fn build(&self, head: HeadConfig, device: &Device) -> Self::Network;
}

/// The modules of a family: embeddings, encoder, head.
pub(super) trait Network: Module {
    type Encoder: Layers;

    fn encoder(&self) -> &Self::Encoder;

    /// `ids` `[B, T]`, `mask` `[B, T]` (true = a real token) → `[B·T, H]`.
    fn embed(&self, ids: Ids, mask: &Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2>;

    /// The encoder's output `x` `[B·T, H]` → logits `[B, C]`.
    fn head(&self, x: Tensor<2>, batch: usize, pass: &mut Pass) -> Tensor<2>;

    /// Applies `change` to every linear layer with its name in transformers.
    fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut Linear));

    /// `ids` `[B, T]`, `mask` `[B, T]` (true = a real token) → logits `[B, C]`.
    fn forward(&self, ids: Ids, mask: Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        let [batch, length] = ids.dims();
        let encoder = self.encoder();
        let mut x = self.embed(ids, &mask, pass); // [B·T, H]
        let shared = encoder.shared(&mask, encoder.rows(length));
        for i in 0..encoder.depth() {
            x = encoder.layer(i, x, &shared, pass);
        }
        self.head(x, batch, pass)
    }
}
