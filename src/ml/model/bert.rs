//! BERT with a classification head: config, model, pooler, forward.
//!
//! Source: `modeling_bert.py` of transformers; the module names match its parameter names.

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};
use serde_json::json;

use super::activation::Activation;
use super::config::{Config, Fields};
use super::embedding::{Embeddings, Positions};
use super::encoder::{Encoder, EncoderConfig, first_tokens};
use super::head::{Head, HeadConfig};
use super::linear::Linear;
use super::names::Names;
use crate::compute::dropout::Pass;

/// The fields of `config.json` that a BERT is built from.
#[derive(Debug, Clone, PartialEq)]
pub struct BertConfig {
    pub encoder: EncoderConfig,
    /// Dropout before the classifier; defaults to `hidden_dropout_prob`.
    pub classifier_dropout: f64,
}

/// The defaults of transformers' `BertConfig`.
const DEFAULTS: EncoderConfig = EncoderConfig {
    vocab_size: 30522,
    hidden_size: 768,
    num_hidden_layers: 12,
    num_attention_heads: 12,
    intermediate_size: 3072,
    max_position_embeddings: 512,
    type_vocab_size: 2,
    pad_token_id: 0,
    layer_norm_eps: 1e-12,
    initializer_range: 0.02,
    hidden_dropout_prob: 0.1,
    attention_probs_dropout_prob: 0.1,
    hidden_act: Activation::Gelu,
};

impl BertConfig {
    /// Reads the fields; fails on values that would require a computation that is not implemented.
    pub fn read(fields: &Fields) -> Result<Self> {
        fields.only("position_embedding_type", json!("absolute"))?;
        let encoder = EncoderConfig::read(fields, DEFAULTS)?;
        ensure!(encoder.type_vocab_size > 0, "field `type_vocab_size` is 0; it must be at least 1");
        let classifier_dropout = fields.probability("classifier_dropout", encoder.hidden_dropout_prob)?;
        Ok(BertConfig { encoder, classifier_dropout })
    }
}

/// `BertForSequenceClassification`.
#[derive(Module, Debug)]
pub struct Bert {
    pub bert: Body,
    pub classifier: Head,
    pub classifier_dropout: f64,
    #[module(skip)]
    pub config: Config,
}

/// `BertModel`.
#[derive(Module, Debug)]
pub struct Body {
    pub embeddings: Embeddings,
    pub encoder: Encoder,
    pub pooler: Pooler,
}

/// `BertPooler`: a layer and tanh on the first token (`[CLS]`).
#[derive(Module, Debug)]
pub struct Pooler {
    pub dense: Linear,
}

impl Bert {
    /// The names of tensors in its checkpoints.
    pub const NAMES: Names = Names { body: "bert", parts: &["embeddings", "encoder", "pooler"] };

    /// A model without values; the caller fills them in.
    pub fn empty(config: &Config, own: &BertConfig, device: &Device) -> Self {
        let c = &own.encoder;
        Bert {
            bert: Body {
                embeddings: Embeddings::empty(c, Positions::FromZero, device),
                encoder: Encoder::empty(c, device),
                pooler: Pooler { dense: Linear::empty(c.hidden_size, c.hidden_size, device) },
            },
            classifier: Head::single(HeadConfig::of(config), device),
            classifier_dropout: own.classifier_dropout,
            config: config.clone(),
        }
    }

    /// `ids` `[B, T]`, `mask` `[B, T]` (true = a real token) → logits `[B, C]`.
    pub fn forward(&self, ids: Tensor<2, Int>, mask: Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        let [batch, _] = ids.dims();
        let x = self.bert.embeddings.forward(ids, pass); // [B·T, H]
        let x = self.bert.encoder.forward(x, mask, pass);
        self.head(x, batch, pass)
    }

    /// The encoder's output `x` `[B·T, H]` → logits `[B, C]`.
    pub fn head(&self, x: Tensor<2>, batch: usize, pass: &mut Pass) -> Tensor<2> {
        let pooled = self.bert.pooler.dense.forward(first_tokens(x, batch), pass).tanh(); // [B, H]
        self.classifier.forward(pooled, self.classifier_dropout, pass)
    }

    /// Applies `change` to every linear layer with its name in transformers.
    pub fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut Linear)) {
        self.bert.encoder.map_linears("bert.encoder", change);
        change("bert.pooler.dense", &mut self.bert.pooler.dense);
        self.classifier.map_linears(change);
    }
}
