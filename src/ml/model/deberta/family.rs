//! DeBERTa-v2 and -v3 with a classification head: config, attention, encoder, pooler, forward.
//!
//! Source: He et al. 2021, "DeBERTa" and "DeBERTaV3"; `modeling_deberta_v2.py` of transformers, whose parameter names the
//! module names match.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Int, Tensor};
use serde_json::json;

use crate::compute::dropout::Pass;
use crate::model::activation::Activation;
use crate::model::config::{Config, Fields};
use crate::model::conv::{Conv, ConvConfig};
use crate::model::embedding::{Embedding, Embeddings, Positions};
use crate::model::encoder::{Attend, EncoderConfig, Layer, attention_bias, first_tokens};
use crate::model::head::{Head, HeadConfig};
use crate::model::integer::together;
use crate::model::linear::Linear;
use crate::model::names::Names;
use crate::model::norm::LayerNorm;

use super::distance::RelativeConfig;
use super::distance::{Distances, skew};

/// The fields of `config.json` that a DeBERTa is built from.
#[derive(Debug, Clone, PartialEq)]
pub struct DebertaConfig {
    pub encoder: EncoderConfig,
    pub relative: RelativeConfig,
    /// Whether the embeddings include absolute positions, as in BERT.
    pub position_biased_input: bool,
    /// The convolution after the first layer (DeBERTa-v2-xlarge).
    pub conv: Option<ConvConfig>,
    pub pooler_dropout: f64,
    pub pooler_hidden_act: Activation,
    /// Dropout before the classifier; defaults to `hidden_dropout_prob`.
    pub cls_dropout: f64,
}

/// The defaults of transformers' `DebertaV2Config`.
const DEFAULTS: EncoderConfig = EncoderConfig {
    vocab_size: 128100,
    hidden_size: 1536,
    num_hidden_layers: 24,
    num_attention_heads: 24,
    intermediate_size: 6144,
    max_position_embeddings: 512,
    type_vocab_size: 0,
    pad_token_id: 0,
    layer_norm_eps: 1e-7,
    initializer_range: 0.02,
    hidden_dropout_prob: 0.1,
    attention_probs_dropout_prob: 0.1,
    hidden_act: Activation::Gelu,
};

impl DebertaConfig {
    /// Reads the fields; fails on values that would require a computation that is not implemented.
    pub fn read(fields: &Fields) -> Result<Self> {
        let encoder = EncoderConfig::read(fields, DEFAULTS)?;
        fields.only("embedding_size", json!(encoder.hidden_size))?;
        fields.only("pooler_hidden_size", json!(encoder.hidden_size))?;
        fields.only("attention_head_size", json!(encoder.head_size()))?;
        let relative = RelativeConfig::read(fields, &encoder)?;
        let table = if relative.attention { 2 * relative.span() } else { 0 };
        encoder.check_size(table)?;
        Ok(DebertaConfig {
            relative,
            position_biased_input: fields.flag("position_biased_input", true)?,
            conv: ConvConfig::read(fields, &encoder)?,
            pooler_dropout: fields.probability("pooler_dropout", 0.0)?,
            pooler_hidden_act: Activation::read(fields, "pooler_hidden_act", "gelu")?,
            cls_dropout: fields.probability("cls_dropout", encoder.hidden_dropout_prob)?,
            encoder,
        })
    }
}

/// `DebertaV2ForSequenceClassification`.
#[derive(Module, Debug)]
pub struct Deberta {
    pub deberta: Body,
    pub pooler: Pooler,
    pub classifier: Head,
    pub cls_dropout: f64,
    #[module(skip)]
    pub config: Config,
}

/// `DebertaV2Model`.
#[derive(Module, Debug)]
pub struct Body {
    pub embeddings: Embeddings,
    pub encoder: Encoder,
}

impl Deberta {
    /// The names of tensors in its checkpoints.
    pub const NAMES: Names = Names { body: "deberta", parts: &["embeddings", "encoder"] };

    /// A model without values; the caller fills them in.
    pub fn empty(config: &Config, own: &DebertaConfig, device: &Device) -> Self {
        let c = &own.encoder;
        let positions = if own.position_biased_input { Positions::FromZero } else { Positions::None };
        Deberta {
            deberta: Body { embeddings: Embeddings::empty(c, positions, device), encoder: Encoder::empty(own, device) },
            pooler: Pooler {
                dense: Linear::empty(c.hidden_size, c.hidden_size, device),
                dropout: own.pooler_dropout,
                activation: own.pooler_hidden_act,
            },
            classifier: Head::single(HeadConfig::of(config), device),
            cls_dropout: own.cls_dropout,
            config: config.clone(),
        }
    }

    /// `ids` `[B, T]`, `mask` `[B, T]` (true = a real token) → logits `[B, C]`.
    pub fn forward(&self, ids: Tensor<2, Int>, mask: Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        let [batch, _] = ids.dims();
        let x = self.embed(ids, &mask, pass); // [B·T, H]
        let x = self.deberta.encoder.forward(x, mask, pass);
        self.head(x, batch, pass)
    }

    /// `ids` `[B, T]`, `mask` `[B, T]` → `[B·T, H]`. It sets padding to zero, because the attention mask has no effect in a row
    /// that is all padding.
    pub fn embed(&self, ids: Tensor<2, Int>, mask: &Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        let [batch, length] = ids.dims();
        let embeddings = &self.deberta.embeddings;
        let real = mask.clone().float().reshape([batch * length, 1]);
        pass.dropout(embeddings.normalized(ids) * real, embeddings.dropout)
    }

    /// The encoder's output `x` `[B·T, H]` → logits `[B, C]`.
    pub fn head(&self, x: Tensor<2>, batch: usize, pass: &mut Pass) -> Tensor<2> {
        let pooled = self.pooler.forward(first_tokens(x, batch), pass);
        self.classifier.forward(pooled, self.cls_dropout, pass)
    }

    /// Applies `change` to every linear layer with its name in transformers.
    pub fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut Linear)) {
        for (i, layer) in self.deberta.encoder.layer.iter_mut().enumerate() {
            layer.map_linears(&format!("deberta.encoder.layer.{i}"), change);
        }
        change("pooler.dense", &mut self.pooler.dense);
        self.classifier.map_linears(change);
    }
}

/// `ContextPooler`: a layer on the first token (`[CLS]`).
#[derive(Module, Debug)]
pub struct Pooler {
    pub dense: Linear,
    pub dropout: f64,
    #[module(skip)]
    pub activation: Activation,
}

impl Pooler {
    /// `x` `[B, H]` → `[B, H]`.
    fn forward(&self, x: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        let x = pass.dropout(x, self.dropout);
        self.activation.forward(self.dense.forward(x, pass))
    }
}

/// `DebertaV2Encoder`: the layers and the table of relative positions that they share.
#[derive(Module, Debug)]
pub struct Encoder {
    pub layer: Vec<Layer<DisentangledSelfAttention>>,
    /// `[2·span, H]`
    pub rel_embeddings: Option<Embedding>,
    /// Normalizes the table, not the outputs of layers.
    pub layer_norm: Option<LayerNorm>,
    pub conv: Option<Conv>,
    #[module(skip)]
    pub relative: RelativeConfig,
}

impl Encoder {
    fn empty(own: &DebertaConfig, device: &Device) -> Self {
        let (c, relative) = (&own.encoder, own.relative);
        let layer = |_| Layer::empty(DisentangledSelfAttention::empty(own, device), c, device);
        Encoder {
            layer: (0..c.num_hidden_layers).map(layer).collect(),
            rel_embeddings: relative.attention.then(|| Embedding::empty(2 * relative.span(), c.hidden_size, device)),
            layer_norm: relative.layer_norm.then(|| LayerNorm::empty(c.hidden_size, c.layer_norm_eps, device)),
            conv: own.conv.as_ref().map(|conv| Conv::empty(conv, c, device)),
            relative,
        }
    }

    /// `x` `[B·T, H]`, `mask` `[B, T]` → `[B·T, H]`.
    fn forward(&self, mut x: Tensor<2>, mask: Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        let [_, length] = mask.dims();
        let places = self.places(&mask, self.rows(length));
        for i in 0..self.layer.len() {
            x = self.forward_layer(i, x, (&places, &mask), pass);
        }
        x
    }

    /// The embeddings of all distances within sequences of `length` tokens, `[R, H]`.
    pub fn rows(&self, length: usize) -> Option<Tensor<2>> {
        let rows = self.relative.reach(length, self.rel_embeddings.as_ref()?.weight.val());
        Some(self.layer_norm.iter().fold(rows, |rows, norm| norm.forward(rows)))
    }

    /// The data that all layers share, from `mask` `[B, T]` and [`rows`](Self::rows).
    pub fn places(&self, mask: &Tensor<2, Bool>, rows: Option<Tensor<2>>) -> Places {
        let [batch, length] = mask.dims();
        Places {
            bias: attention_bias(mask.clone()).reshape([1, batch, 1, length]),
            distances: rows.map(|rows| Distances::new(&self.relative, rows, length)),
        }
    }

    /// One layer, and after the first one the convolution: `x` `[B·T, H]`, `mask` `[B, T]` → `[B·T, H]`.
    pub fn forward_layer(
        &self,
        i: usize,
        x: Tensor<2>,
        (places, mask): (&Places, &Tensor<2, Bool>),
        pass: &mut Pass,
    ) -> Tensor<2> {
        let out = self.layer[i].forward(x.clone(), places, pass);
        self.beside(i, x, out, mask, pass)
    }

    /// Like [`forward_layer`](Self::forward_layer), with the attention scores `[B, h, T, T]`.
    pub fn forward_layer_with_scores(
        &self,
        i: usize,
        x: Tensor<2>,
        (places, mask): (&Places, &Tensor<2, Bool>),
        pass: &mut Pass,
    ) -> (Tensor<2>, Tensor<4>) {
        let (out, scores) = self.layer[i].forward_with_scores(x.clone(), places, pass);
        (self.beside(i, x, out, mask, pass), scores)
    }

    /// Applies the convolution to the input `x` and the output `out` of the first layer; returns `out` for other layers.
    fn beside(&self, i: usize, x: Tensor<2>, out: Tensor<2>, mask: &Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        match &self.conv {
            Some(conv) if i == 0 => conv.forward(x, out, mask, pass),
            _ => out,
        }
    }
}

/// Data about a batch that the attention of all layers shares.
pub struct Places {
    /// [`attention_bias`] as `[1, B, 1, T]`.
    bias: Tensor<4>,
    distances: Option<Distances>,
}

/// Self-attention with separate scores for content and distance.
#[derive(Module, Debug)]
pub struct DisentangledSelfAttention {
    pub query_proj: Linear,
    pub key_proj: Linear,
    pub value_proj: Linear,
    /// `None` if positions share the projections of the content.
    pub pos_key_proj: Option<Linear>,
    pub pos_query_proj: Option<Linear>,
    pub heads: usize,
    /// Dropout of the attention weights.
    pub dropout: f64,
    /// Dropout of the table of relative positions.
    pub pos_dropout: f64,
    #[module(skip)]
    pub relative: RelativeConfig,
}

impl DisentangledSelfAttention {
    fn empty(own: &DebertaConfig, device: &Device) -> Self {
        let (c, relative) = (&own.encoder, own.relative);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(field: &str) -> String {
        let text = format!(r#"{{"model_type": "deberta-v2", "relative_attention": true, {field}}}"#);
        Config::parse(&text).map(|_| ()).expect_err("refused").to_string()
    }

    #[test]
    fn fields_that_are_not_built_are_refused_by_name() {
        assert_eq!(
            refused(r#""pos_att_type": ["c2p", "p2p"]"#),
            r#"field `pos_att_type` has "p2p"; only "c2p" and "p2c" are supported"#
        );
        assert_eq!(refused(r#""embedding_size": 128"#), "field `embedding_size` is 128; only 1536 is supported");
        assert_eq!(
            refused(r#""norm_rel_ebd": "layer_norm|dropout""#),
            r#"field `norm_rel_ebd` has "dropout"; only "layer_norm" and "none" are supported"#
        );
        assert_eq!(
            refused(r#""conv_kernel_size": 2"#),
            "field `conv_kernel_size` is 2; an even kernel would shorten the sequence"
        );
        assert_eq!(
            refused(r#""position_buckets": 2"#),
            "field `position_buckets` is 2; it must be at least 4, or -1 for none"
        );
    }
}
