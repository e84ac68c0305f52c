//! Parts that the families share: model sizes, the layer around any self-attention, and the attention of BERT and
//! RoBERTa.

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Tensor};
use serde_json::json;

use super::activation::Activation;
use super::fields::Fields;
use super::linear::{Linear, together};
use super::norm::LayerNorm;
use crate::compute::dropout::Pass;
use crate::compute::kernel;

/// Maximum number of layers: eight times that of the deepest published model of these families.
const MOST_LAYERS: usize = 384;
/// Maximum number of parameters; XLM-R XXL has 10.7 billion.
const MOST_PARAMETERS: u128 = 1 << 34;

/// The fields of `config.json` that every family has, under the names in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    /// Rows of the position table.
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub pad_token_id: usize,
    pub layer_norm_eps: f64,
    pub initializer_range: f64,
    pub hidden_dropout_prob: f64,
    pub attention_probs_dropout_prob: f64,
    pub hidden_act: Activation,
}

impl EncoderConfig {
    /// Reads the fields, with the family's `defaults` for missing ones; fails on values that would require a
    /// computation that is not implemented.
    pub fn read(fields: &Fields, defaults: EncoderConfig) -> Result<Self> {
        let config = EncoderConfig {
            vocab_size: fields.size("vocab_size", defaults.vocab_size)?,
            hidden_size: fields.size("hidden_size", defaults.hidden_size)?,
            num_hidden_layers: fields.size("num_hidden_layers", defaults.num_hidden_layers)?,
            num_attention_heads: fields.size("num_attention_heads", defaults.num_attention_heads)?,
            intermediate_size: fields.size("intermediate_size", defaults.intermediate_size)?,
            max_position_embeddings: fields.size("max_position_embeddings", defaults.max_position_embeddings)?,
            type_vocab_size: fields.index("type_vocab_size", defaults.type_vocab_size)?,
            pad_token_id: fields.index("pad_token_id", defaults.pad_token_id)?,
            layer_norm_eps: fields.number("layer_norm_eps", defaults.layer_norm_eps)?,
            initializer_range: fields.number("initializer_range", defaults.initializer_range)?,
            hidden_dropout_prob: fields.probability("hidden_dropout_prob", defaults.hidden_dropout_prob)?,
            attention_probs_dropout_prob: fields
                .probability("attention_probs_dropout_prob", defaults.attention_probs_dropout_prob)?,
            hidden_act: Activation::read(fields, "hidden_act", "gelu")?,
        };
        config.checked(fields)
    }

    /// Fails if sizes are inconsistent, or if a field would require a computation that is not implemented.
    pub fn checked(self, fields: &Fields) -> Result<Self> {
        fields.only("is_decoder", json!(false))?;
        fields.only("add_cross_attention", json!(false))?;
        fields.only("is_encoder_decoder", json!(false))?;
        fields.empty("pruned_heads")?;
        ensure!(
            self.hidden_size.is_multiple_of(self.num_attention_heads),
            "field `hidden_size` is {}; it must be a multiple of `num_attention_heads` = {}",
            self.hidden_size,
            self.num_attention_heads
        );
        ensure!(
            self.pad_token_id < self.vocab_size,
            "field `pad_token_id` is {}, outside the vocabulary of {} tokens (`vocab_size`)",
            self.pad_token_id,
            self.vocab_size
        );
        self.check_size(0)?;
        Ok(self)
    }

    /// Fails if the model is too large for any machine, before anything is allocated; `more` is the number of table rows that
    /// only this family has.
    pub fn check_size(&self, more: usize) -> Result<()> {
        ensure!(
            self.num_hidden_layers <= MOST_LAYERS,
            "field `num_hidden_layers` is {}; more than {MOST_LAYERS} is not supported",
            self.num_hidden_layers
        );
        let hidden = self.hidden_size as u128;
        let tables = self.vocab_size + self.max_position_embeddings + self.type_vocab_size + more;
        let layers = self.num_hidden_layers as u128 * (4 * hidden + 2 * self.intermediate_size as u128);
        let parameters = hidden * (tables as u128 + layers);
        ensure!(
            parameters <= MOST_PARAMETERS,
            "the fields describe a model of {parameters} parameters; more than {MOST_PARAMETERS} is not supported"
        );
        Ok(())
    }

    /// Width of one attention head.
    pub fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

/// A self-attention that a [`Layer`] can hold.
pub(crate) trait Attend: Module {
    /// Data that all layers of a forward pass share: the mask, relative positions.
    type Context;

    /// `x` `[B·T, H]` → `[B·T, H]`, before the output projection.
    fn forward(&self, x: Tensor<2>, context: &Self::Context, pass: &mut Pass) -> Tensor<2>;

    /// Like [`forward`](Self::forward), with the scores before the softmax, `[B, h, T, T]`; scores of padding are meaningless.
    /// The scores take memory that `forward` may save.
    fn forward_with_scores(&self, x: Tensor<2>, context: &Self::Context, pass: &mut Pass) -> (Tensor<2>, Tensor<4>);

    /// Its linear layers with their names in transformers.
    fn linears(&mut self) -> Vec<(&'static str, &mut Linear)>;
}

/// The layers of a family, one after another.
pub(crate) trait Layers {
    /// Data of a batch that all layers share: the mask, distances between tokens.
    type Shared;

    fn depth(&self) -> usize;

    /// The embeddings of all distances within sequences of `length` tokens, `[R, H]`, if the layers use any.
    fn rows(&self, _length: usize) -> Option<Tensor<2>> {
        None
    }

    /// The data that all layers share, from `mask` `[B, T]` (true = a real token) and [`rows`](Self::rows).
    fn shared(&self, mask: &Tensor<2, Bool>, rows: Option<Tensor<2>>) -> Self::Shared;

    /// Layer `i`: `x` `[B·T, H]` → `[B·T, H]`.
    fn layer(&self, i: usize, x: Tensor<2>, shared: &Self::Shared, pass: &mut Pass) -> Tensor<2>;

    /// Like [`layer`](Self::layer), with the attention scores before the softmax, `[B, h, T, T]`.
    fn layer_with_scores(
        &self,
        i: usize,
        x: Tensor<2>,
        shared: &Self::Shared,
        pass: &mut Pass,
    ) -> (Tensor<2>, Tensor<4>);

    /// Applies `change` to every linear layer; `at` is the encoder's name in transformers.
    fn map_linears(&mut self, at: &str, change: &mut dyn FnMut(&str, &mut Linear));
}

/// Attention and feed-forward, each with a residual and a normalization after it.
///
/// Source: `BertLayer` in transformers `modeling_bert.py`; RoBERTa's and DeBERTa's are copies of it.
#[derive(Module, Debug)]
pub(crate) struct Layer<A: Attend> {
    pub attention: Attention<A>,
    pub intermediate: Intermediate,
    pub output: Output,
}

impl<A: Attend> Layer<A> {
    /// A layer around `self_attention` without values; the caller fills them in.
    pub(crate) fn empty(self_attention: A, c: &EncoderConfig, device: &Device) -> Self {
        let output = |inputs| Output {
            dense: Linear::empty(inputs, c.hidden_size, device),
            layer_norm: LayerNorm::empty(c.hidden_size, c.layer_norm_eps, device),
            dropout: c.hidden_dropout_prob,
        };
        Layer {
            attention: Attention { self_attention, output: output(c.hidden_size) },
            intermediate: Intermediate {
                dense: Linear::empty(c.hidden_size, c.intermediate_size, device),
                activation: c.hidden_act,
            },
            output: output(c.intermediate_size),
        }
    }

    /// `x` `[B·T, H]` → `[B·T, H]`.
    pub(crate) fn forward(&self, x: Tensor<2>, context: &A::Context, pass: &mut Pass) -> Tensor<2> {
        let attended = self.attention.self_attention.forward(x.clone(), context, pass);
        self.after_attention(attended, x, pass)
    }

    /// Like [`forward`](Self::forward), with the attention scores `[B, h, T, T]`.
    pub(crate) fn forward_with_scores(
        &self,
        x: Tensor<2>,
        context: &A::Context,
        pass: &mut Pass,
    ) -> (Tensor<2>, Tensor<4>) {
        let (attended, scores) = self.attention.self_attention.forward_with_scores(x.clone(), context, pass);
        (self.after_attention(attended, x, pass), scores)
    }

    /// The attention's output and the layer's input, both `[B·T, H]` → `[B·T, H]`.
    fn after_attention(&self, attended: Tensor<2>, x: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        let x = self.attention.output.forward(attended, x, pass);
        let inner = self.intermediate.forward(x.clone(), pass); // [B·T, I]
        self.output.forward(inner, x, pass)
    }

    /// Applies `change` to every linear layer; `at` is the layer's name in transformers.
    pub(crate) fn map_linears(&mut self, at: &str, change: &mut dyn FnMut(&str, &mut Linear)) {
        for (name, linear) in self.attention.self_attention.linears() {
            change(&format!("{at}.attention.self.{name}"), linear);
        }
        change(&format!("{at}.attention.output.dense"), &mut self.attention.output.dense);
        change(&format!("{at}.intermediate.dense"), &mut self.intermediate.dense);
        change(&format!("{at}.output.dense"), &mut self.output.dense);
    }
}

#[derive(Module, Debug)]
pub(crate) struct Attention<A: Attend> {
    /// `self` in transformers, which is a keyword here.
    pub self_attention: A,
    pub output: Output,
}

/// The first, wide layer of the feed-forward.
#[derive(Module, Debug)]
pub(crate) struct Intermediate {
    pub dense: Linear,
    #[module(skip)]
    pub activation: Activation,
}

impl Intermediate {
    /// `x` `[B·T, H]` → `[B·T, I]`.
    fn forward(&self, x: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        self.activation.forward(self.dense.forward(x, pass))
    }
}

/// A projection back to the hidden width, dropout, residual and normalization.
#[derive(Module, Debug)]
pub(crate) struct Output {
    pub dense: Linear,
    pub layer_norm: LayerNorm,
    pub dropout: f64,
}

impl Output {
    /// `x` `[B·T, I]`, `residual` `[B·T, H]` → `[B·T, H]`.
    fn forward(&self, x: Tensor<2>, residual: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        let x = self.dense.forward(x, pass);
        self.layer_norm.add(x, residual, (pass, self.dropout))
    }
}

/// The layers of a BERT, a RoBERTa or a DistilBERT.
#[derive(Module, Debug)]
pub(crate) struct Encoder {
    pub layer: Vec<Layer<SelfAttention>>,
}

impl Encoder {
    /// Layers without values; the caller fills them in.
    pub(crate) fn empty(c: &EncoderConfig, device: &Device) -> Self {
        let layer = |_| Layer::empty(SelfAttention::empty(c, device), c, device);
        Encoder { layer: (0..c.num_hidden_layers).map(layer).collect() }
    }
}

impl Layers for Encoder {
    /// [`attention_bias`], `[B, 1, 1, T]`.
    type Shared = Tensor<4>;

    fn depth(&self) -> usize {
        self.layer.len()
    }

    fn shared(&self, mask: &Tensor<2, Bool>, _: Option<Tensor<2>>) -> Tensor<4> {
        attention_bias(mask.clone())
    }

    fn layer(&self, i: usize, x: Tensor<2>, bias: &Tensor<4>, pass: &mut Pass) -> Tensor<2> {
        self.layer[i].forward(x, bias, pass)
    }

    fn layer_with_scores(&self, i: usize, x: Tensor<2>, bias: &Tensor<4>, pass: &mut Pass) -> (Tensor<2>, Tensor<4>) {
        self.layer[i].forward_with_scores(x, bias, pass)
    }

    fn map_linears(&mut self, at: &str, change: &mut dyn FnMut(&str, &mut Linear)) {
        for (i, layer) in self.layer.iter_mut().enumerate() {
            layer.map_linears(&format!("{at}.layer.{i}"), change);
        }
    }
}

/// The bias to add to the scores: 0 for real tokens, and for padding a number so low that the softmax
/// gives 0. `mask` `[B, T]` → `[B, 1, 1, T]`.
///
/// The lowest finite f32, which transformers uses, would overflow when a score is added. In a row that is all padding, all
/// scores and so all weights are equal, as in transformers.
pub(crate) fn attention_bias(mask: Tensor<2, Bool>) -> Tensor<4> {
    let [batch, length] = mask.dims();
    (mask.bool_not().float() * -1e30).reshape([batch, 1, 1, length])
}

/// The first token's vector of each row: `x` `[B·T, H]` → `[B, H]`.
pub(crate) fn first_tokens(x: Tensor<2>, batch: usize) -> Tensor<2> {
    let [rows, hidden] = x.dims();
    x.reshape([batch, rows / batch, hidden]).slice([0..batch, 0..1]).reshape([batch, hidden])
}

/// Scaled dot-product self-attention over several heads (Vaswani et al. 2017).
///
/// Source: `BertSelfAttention` in transformers `modeling_bert.py`.
#[derive(Module, Debug)]
pub(crate) struct SelfAttention {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub heads: usize,
    pub dropout: f64,
}

impl SelfAttention {
    fn empty(c: &EncoderConfig, device: &Device) -> Self {
        let linear = || Linear::empty(c.hidden_size, c.hidden_size, device);
        SelfAttention {
            query: linear(),
            key: linear(),
            value: linear(),
            heads: c.num_attention_heads,
            dropout: c.attention_probs_dropout_prob,
        }
    }

    /// `x` `[B·T, H]` → queries, keys and values, `[B·T, H]` each.
    fn project(&self, x: Tensor<2>, pass: &mut Pass) -> [Tensor<2>; 3] {
        together([&self.query, &self.key, &self.value], x, pass)
    }

    /// `[B·T, H]` → `[B, h, T, H/h]`.
    fn split(&self, x: Tensor<2>, batch: usize) -> Tensor<4> {
        let [rows, hidden] = x.dims();
        x.reshape([batch, rows / batch, self.heads, hidden / self.heads]).swap_dims(1, 2)
    }

    /// Queries and keys `[B·T, H]` → scores `[B, h, T, T]`.
    fn scores(&self, q: Tensor<2>, k: Tensor<2>, bias: &Tensor<4>, pass: &Pass) -> Tensor<4> {
        let [batch, _, _, _] = bias.dims();
        let width = q.dims()[1] / self.heads;
        // Scaling the queries costs less than scaling the scores.
        let (q, k) = (self.split(q * (width as f64).powf(-0.5), batch), self.split(k, batch));
        pass.precision().matmul(q, k.swap_dims(2, 3)) + bias.clone()
    }

    /// Scores `[B, h, T, T]` and values `[B·T, H]` → `[B·T, H]`.
    fn weigh(&self, scores: Tensor<4>, v: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        let [batch, _, _, _] = scores.dims();
        let shape = v.dims();
        let weights = pass.dropout(softmax(scores, 3), self.dropout);
        pass.precision().matmul(weights, self.split(v, batch)).swap_dims(1, 2).reshape(shape)
    }
}

impl Attend for SelfAttention {
    /// [`attention_bias`], `[B, 1, 1, T]`.
    type Context = Tensor<4>;

    fn forward(&self, x: Tensor<2>, bias: &Tensor<4>, pass: &mut Pass) -> Tensor<2> {
        let [q, k, v] = self.project(x, pass);
        if pass.precision().is_f32() && kernel::fuses(&q) {
            return kernel::attention([q, k, v], bias.clone(), self.heads, pass.mask(self.dropout));
        }
        let scores = self.scores(q, k, bias, pass);
        self.weigh(scores, v, pass)
    }

    fn forward_with_scores(&self, x: Tensor<2>, bias: &Tensor<4>, pass: &mut Pass) -> (Tensor<2>, Tensor<4>) {
        let [q, k, v] = self.project(x, pass);
        let scores = self.scores(q, k, bias, pass);
        (self.weigh(scores.clone(), v, pass), scores)
    }

    fn linears(&mut self) -> Vec<(&'static str, &mut Linear)> {
        vec![("query", &mut self.query), ("key", &mut self.key), ("value", &mut self.value)]
    }
}
