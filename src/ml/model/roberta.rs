//! RoBERTa with a classification head: config, model, forward. XLM-R and DistilRoBERTa have the same layout.
//!
//! Source: `modeling_roberta.py` of transformers; the module names match its parameter names.

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

/// The fields of `config.json` that a RoBERTa is built from.
#[derive(Debug, Clone, PartialEq)]
pub struct RobertaConfig {
    /// The first `pad_token_id + 1` of its `max_position_embeddings` rows are never used by real tokens.
    pub encoder: EncoderConfig,
    /// Dropout before the head's layers; defaults to `hidden_dropout_prob`.
    pub classifier_dropout: f64,
}

/// The defaults of transformers' `RobertaConfig`.
const DEFAULTS: EncoderConfig = EncoderConfig {
    vocab_size: 50265,
    hidden_size: 768,
    num_hidden_layers: 12,
    num_attention_heads: 12,
    intermediate_size: 3072,
    max_position_embeddings: 512,
    type_vocab_size: 2,
    pad_token_id: 1,
    layer_norm_eps: 1e-12,
    initializer_range: 0.02,
    hidden_dropout_prob: 0.1,
    attention_probs_dropout_prob: 0.1,
    hidden_act: Activation::Gelu,
};

impl RobertaConfig {
    /// Reads the fields; fails on values that would require a computation that is not implemented.
    pub fn read(fields: &Fields) -> Result<Self> {
        fields.only("position_embedding_type", json!("absolute"))?;
        let encoder = EncoderConfig::read(fields, DEFAULTS)?;
        ensure!(encoder.type_vocab_size > 0, "field `type_vocab_size` is 0; it must be at least 1");
        ensure!(
            encoder.max_position_embeddings > encoder.pad_token_id + 1,
            "field `max_position_embeddings` is {}; it must be larger than `pad_token_id` + 1 = {}",
            encoder.max_position_embeddings,
            encoder.pad_token_id + 1
        );
        let classifier_dropout = fields.probability("classifier_dropout", encoder.hidden_dropout_prob)?;
        Ok(RobertaConfig { encoder, classifier_dropout })
    }

    /// The longest sequence in tokens. It is shorter than the table, because positions start after the row of the padding id.
    pub fn max_length(&self) -> usize {
        self.encoder.max_position_embeddings - self.encoder.pad_token_id - 1
    }
}

/// `RobertaForSequenceClassification`.
#[derive(Module, Debug)]
pub struct Roberta {
    pub roberta: Body,
    pub classifier: Head,
    pub classifier_dropout: f64,
    #[module(skip)]
    pub config: Config,
}

/// `RobertaModel` without the pooler.
#[derive(Module, Debug)]
pub struct Body {
    pub embeddings: Embeddings,
    pub encoder: Encoder,
}

impl Roberta {
    /// The names of tensors in its checkpoints.
    pub const NAMES: Names = Names { body: "roberta", parts: &["embeddings", "encoder", "pooler"] };

    /// A model without values; the caller fills them in.
    pub fn empty(config: &Config, own: &RobertaConfig, device: &Device) -> Self {
        let c = &own.encoder;
        Roberta {
            roberta: Body {
                embeddings: Embeddings::empty(c, Positions::AfterPadding, device),
                encoder: Encoder::empty(c, device),
            },
            classifier: Head::dense(HeadConfig::of(config), device),
            classifier_dropout: own.classifier_dropout,
            config: config.clone(),
        }
    }

    /// `ids` `[B, T]`, `mask` `[B, T]` (true = a real token) → logits `[B, C]`.
    pub fn forward(&self, ids: Tensor<2, Int>, mask: Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        let [batch, _] = ids.dims();
        let x = self.roberta.embeddings.forward(ids, pass); // [B·T, H]
        let x = self.roberta.encoder.forward(x, mask, pass);
        self.head(x, batch, pass)
    }

    /// The encoder's output `x` `[B·T, H]` → logits `[B, C]`, without a pooler.
    pub fn head(&self, x: Tensor<2>, batch: usize, pass: &mut Pass) -> Tensor<2> {
        self.classifier.forward(first_tokens(x, batch), self.classifier_dropout, pass)
    }

    /// Applies `change` to every linear layer with its name in transformers.
    pub fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut Linear)) {
        self.roberta.encoder.map_linears("roberta.encoder", change);
        self.classifier.map_linears(change);
    }
}
