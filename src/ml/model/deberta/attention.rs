//! DeBERTa's self-attention, which scores content and distance apart.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Int, Tensor};

use super::distance::{Distances, RelativeConfig, skew};
use crate::compute::dropout::Pass;
use crate::model::encoder::{Attend, EncoderConfig};
use crate::model::linear::{Linear, together};

/// Data about a batch that the attention of all layers shares.
pub(crate) struct Places {
    /// [`attention_bias`](crate::model::encoder::attention_bias) as `[1, B, 1, T]`.
    pub(super) bias: Tensor<4>,
    pub(super) distances: Option<Distances>,
    /// `[B, T]`, true = a real token.
    pub(super) mask: Tensor<2, Bool>,
}

/// Self-attention with separate scores for content and distance.
#[derive(Module, Debug)]
pub(super) struct DisentangledSelfAttention {
    query_proj: Linear,
    key_proj: Linear,
    value_proj: Linear,
    /// `None` if positions share the projections of the content.
    pos_key_proj: Option<Linear>,
    pos_query_proj: Option<Linear>,
    heads: usize,
    /// Dropout of the attention weights.
    dropout: f64,
    /// Dropout of the table of relative positions.
    pos_dropout: f64,
    #[module(skip)]
    relative: RelativeConfig,
}

impl DisentangledSelfAttention {
    /// A layer without values; the caller fills them in.
    pub(super) fn empty(c: &EncoderConfig, relative: RelativeConfig, device: &Device) -> Self {
        let linear = || Linear::empty(c.hidden_size, c.hidden_size, device);
        let unshared = relative.attention && !relative.share_att_key;
        DisentangledSelfAttention {
            query_proj: linear(),
            key_proj: linear(),
            value_proj: linear(),
            pos_key_proj: (unshared && relative.c2p).then(linear),
            pos_query_proj: (unshared && relative.p2c).then(linear),
            heads: c.num_attention_heads,
            dropout: c.attention_probs_dropout_prob,
            pos_dropout: c.hidden_dropout_prob,
            relative,
        }
    }

    /// `x` `[B·T, H]` → scores `[h, B, T, T]` and values `[h, B, T, D]`.
    fn scores(&self, x: Tensor<2>, places: &Places, pass: &mut Pass) -> (Tensor<4>, Tensor<4>) {
        let [_, hidden] = x.dims();
        let [_, batch, _, length] = places.bias.dims();
        let width = hidden / self.heads;
        let scale = ((width * self.relative.parts()) as f64).powf(-0.5);
        // Heads come first, so that one product per head serves the whole batch.
        let split = |x: Tensor<2>| x.reshape([batch, length, self.heads, width]).permute([2, 0, 1, 3]);
        let [q, k, v] = together([&self.query_proj, &self.key_proj, &self.value_proj], x, pass);
        let (q, k, v) = (split(q * scale), split(k), split(v)); // [h, B, T, D]
        let precision = pass.precision();
        let mut scores = precision.matmul(q.clone(), k.clone().swap_dims(2, 3)) + places.bias.clone(); // [h, B, T, T]
        if let Some(distances) = &places.distances
            && let Some(more) = self.by_distance(&q, &k, distances, scale, pass)
        {
            scores = scores + more;
        }
        (scores, v)
    }

    /// Scores `[h, B, T, T]` and values `[h, B, T, D]` → `[B·T, H]`.
    fn weigh(&self, scores: Tensor<4>, v: Tensor<4>, pass: &mut Pass) -> Tensor<2> {
        let [heads, batch, length, width] = v.dims();
        let weights = pass.dropout(softmax(scores, 3), self.dropout);
        pass.precision().matmul(weights, v).permute([1, 2, 0, 3]).reshape([batch * length, heads * width])
    }

    /// The distance scores, to be added to the content scores: `q` (scaled by `scale`) and `k` `[h, B, T, D]` →
    /// `[h, B, T, T]`.
    ///
    /// transformers multiplies each query by all 2·span rows and gathers T of the products. This function first expands the
    /// table to the 2T distances, which are the same for every row and query. The product then contains each score once,
    /// in diagonals, and [`skew`] turns the diagonals into columns.
    fn by_distance(
        &self,
        q: &Tensor<4>,
        k: &Tensor<4>,
        distances: &Distances,
        scale: f64,
        pass: &mut Pass,
    ) -> Option<Tensor<4>> {
        let precision = pass.precision();
        let rows = pass.dropout(distances.rows.clone(), self.pos_dropout);
        let [heads, batch, length, width] = q.dims();
        let spread = |x: Tensor<2>, index: &Tensor<1, Int>| {
            x.select(0, index.clone()).reshape([2 * length, heads, width]).permute([1, 2, 0]) // [h, D, 2T]
        };
        let product = |x: &Tensor<4>, table: Tensor<3>| {
            let scores = precision.matmul(x.clone().reshape([heads, batch * length, width]), table);
            skew(scores, [heads, batch, length])
        };
        let c2p = self.relative.c2p.then(|| {
            let rows = self.pos_key_proj.as_ref().unwrap_or(&self.key_proj).forward(rows.clone(), pass);
            product(q, spread(rows, &distances.by_key))
        });
        let p2c = self.relative.p2c.then(|| {
            let rows = self.pos_query_proj.as_ref().unwrap_or(&self.query_proj).forward(rows, pass) * scale;
            product(k, spread(rows, &distances.by_query)).swap_dims(2, 3)
        });
        match (c2p, p2c) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        }
    }
}

impl Attend for DisentangledSelfAttention {
    type Context = Places;

    fn forward(&self, x: Tensor<2>, places: &Places, pass: &mut Pass) -> Tensor<2> {
        let (scores, v) = self.scores(x, places, pass);
        self.weigh(scores, v, pass)
    }

    fn forward_with_scores(&self, x: Tensor<2>, places: &Places, pass: &mut Pass) -> (Tensor<2>, Tensor<4>) {
        let (scores, v) = self.scores(x, places, pass);
        (self.weigh(scores.clone(), v, pass), scores.swap_dims(0, 1))
    }

    fn linears(&mut self) -> Vec<(&'static str, &mut Linear)> {
        let own = [
            ("query_proj", Some(&mut self.query_proj)),
            ("key_proj", Some(&mut self.key_proj)),
            ("value_proj", Some(&mut self.value_proj)),
            ("pos_key_proj", self.pos_key_proj.as_mut()),
            ("pos_query_proj", self.pos_query_proj.as_mut()),
        ];
        own.into_iter().filter_map(|(name, linear)| Some((name, linear?))).collect()
    }
}
