//! Embedding tables, and the sum of word, position and type embeddings that every family starts with.

use burn::module::{Module, Param};
use burn::tensor::{Bool, Device, Int, Tensor, module::embedding};

use super::encoder::EncoderConfig;
use super::linear::empty;
use super::norm::LayerNorm;
use crate::compute::dropout::Pass;
use crate::text::ids::Ids;

/// A table `[V, H]`, one row per id.
#[derive(Module, Debug)]
pub(crate) struct Embedding {
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// A table without values; the caller fills them in.
    pub(crate) fn empty(rows: usize, width: usize, device: &Device) -> Self {
        Embedding { weight: empty([rows, width], device) }
    }

    /// `ids` `[B, T]` → `[B, T, H]`.
    pub(crate) fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        embedding(self.weight.val(), ids)
    }

    /// The first `count` rows, `[1, count, H]`.
    fn first(&self, count: usize) -> Tensor<3> {
        self.weight.val().narrow(0, 0, count).unsqueeze()
    }
}

/// How tokens get their absolute positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Positions {
    /// No absolute positions: DeBERTa-v3, whose attention uses distances.
    None,
    /// 0, 1, 2, …: BERT.
    FromZero,
    /// Positions of real tokens count up from `pad_id + 1`; padding has position `pad_id`: RoBERTa
    /// (`create_position_ids_from_input_ids`).
    AfterPadding,
}

/// Sum of word, position and type embeddings, normalized.
#[derive(Module, Debug)]
pub(crate) struct Embeddings {
    pub word_embeddings: Embedding,
    pub position_embeddings: Option<Embedding>,
    /// All tokens of single texts have the first type. `None` if `type_vocab_size` is 0.
    pub token_type_embeddings: Option<Embedding>,
    pub layer_norm: LayerNorm,
    pub dropout: f64,
    pub pad_id: usize,
    #[module(skip)]
    pub positions: Positions,
}

impl Embeddings {
    /// Tables without values; the caller fills them in.
    pub(crate) fn empty(c: &EncoderConfig, positions: Positions, device: &Device) -> Self {
        let table = |rows| Embedding::empty(rows, c.hidden_size, device);
        Embeddings {
            word_embeddings: table(c.vocab_size),
            position_embeddings: (positions != Positions::None).then(|| table(c.max_position_embeddings)),
            token_type_embeddings: (c.type_vocab_size > 0).then(|| table(c.type_vocab_size)),
            layer_norm: LayerNorm::empty(c.hidden_size, c.layer_norm_eps, device),
            dropout: c.hidden_dropout_prob,
            pad_id: c.pad_token_id,
            positions,
        }
    }

    /// `ids` `[B, T]` → `[B·T, H]`.
    pub(crate) fn forward(&self, ids: Ids, pass: &mut Pass) -> Tensor<2> {
        pass.dropout(self.normalized(ids), self.dropout)
    }

    /// Like [`forward`](Self::forward), without dropout.
    pub(crate) fn normalized(&self, Ids { tokens: ids, types }: Ids) -> Tensor<2> {
        let [batch, length] = ids.dims();
        let mut x = self.word_embeddings.forward(ids.clone()); // [B, T, H]
        let is_padding = ids.clone().equal_elem(self.pad_id as i64);
        match (&self.position_embeddings, self.positions) {
            (Some(table), Positions::AfterPadding) => {
                x = x + table.forward(after_padding(ids, self.pad_id));
                x = constant_at(x, is_padding);
            }
            (Some(table), _) => x = constant_at(x, is_padding) + table.first(length),
            (None, _) => x = constant_at(x, is_padding),
        }
        match (&self.token_type_embeddings, types) {
            (Some(table), Some(types)) => x = x + table.forward(types),
            (Some(table), None) => x = x + table.first(1),
            (None, _) => {}
        }
        let [_, _, hidden] = x.dims();
        self.layer_norm.forward(x.reshape([batch * length, hidden]))
    }
}

/// Returns `x` `[B, T, H]` without a gradient where `place` `[B, T]` is true: torch never trains the padding row of a table
/// (`padding_idx`).
fn constant_at(x: Tensor<3>, place: Tensor<2, Bool>) -> Tensor<3> {
    if !x.is_tracked() {
        return x;
    }
    let place = place.unsqueeze_dim::<3>(2).expand(x.dims());
    x.clone().mask_where(place, x.detach())
}

/// The positions of [`Positions::AfterPadding`]: `ids` `[B, T]` → `[B, T]`.
fn after_padding(ids: Tensor<2, Int>, pad: usize) -> Tensor<2, Int> {
    let real = ids.not_equal_elem(pad as i64).int();
    real.clone().cumsum(1) * real + pad as i64
}
