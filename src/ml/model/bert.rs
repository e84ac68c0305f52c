//! BERT with a classification head: config, names, modules, pooler.
//!
//! Source: `modeling_bert.py` of transformers; the module names match its parameter names.

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};
use serde_json::json;

use super::activation::Activation;
use super::embedding::{Embeddings, Positions};
use super::encoder::{Encoder, EncoderConfig, Layers, first_tokens};
use super::fields::Fields;
use super::head::{Head, HeadConfig};
use super::linear::Linear;
use super::names::Names;
use super::network::{FamilyConfig, Network};
use crate::compute::dropout::Pass;
use crate::text::ids::Ids;

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

impl FamilyConfig for BertConfig {
    const NAMES: Names = Names::BERT;

    type Network = Bert;

    fn read(fields: &Fields) -> Result<Self> {
        fields.only("position_embedding_type", json!("absolute"))?;
        let encoder = EncoderConfig::read(fields, DEFAULTS)?;
        ensure!(encoder.type_vocab_size > 0, "field `type_vocab_size` is 0; it must be at least 1");
        let classifier_dropout = fields.probability("classifier_dropout", encoder.hidden_dropout_prob)?;
        Ok(BertConfig { encoder, classifier_dropout })
    }

    fn encoder(&self) -> &EncoderConfig {
        &self.encoder
    }

    fn build(&self, head: HeadConfig, device: &Device) -> Bert {
        let c = &self.encoder;
        Bert {
            bert: Body {
                embeddings: Embeddings::empty(c, Positions::FromZero, device),
                encoder: Encoder::empty(c, device),
                pooler: Pooler { dense: Linear::empty(c.hidden_size, c.hidden_size, device) },
            },
            classifier: Head::single(head, device),
            classifier_dropout: self.classifier_dropout,
        }
    }
}

/// `BertForSequenceClassification`.
#[derive(Module, Debug)]
pub(crate) struct Bert {
    bert: Body,
    classifier: Head,
    classifier_dropout: f64,
}

/// `BertModel`.
#[derive(Module, Debug)]
struct Body {
    embeddings: Embeddings,
    encoder: Encoder,
    pooler: Pooler,
}

/// `BertPooler`: a layer and tanh on the first token (`[CLS]`).
#[derive(Module, Debug)]
struct Pooler {
    dense: Linear,
}

impl Network for Bert {
    type Encoder = Encoder;

    fn encoder(&self) -> &Encoder {
        &self.bert.encoder
    }

    fn embed(&self, ids: Ids, _: &Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        self.bert.embeddings.forward(ids, pass)
    }

    fn head(&self, x: Tensor<2>, batch: usize, pass: &mut Pass) -> Tensor<2> {
        let pooled = self.bert.pooler.dense.forward(first_tokens(x, batch), pass).tanh(); // [B, H]
        self.classifier.forward(pooled, self.classifier_dropout, pass)
    }

    fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut Linear)) {
        self.bert.encoder.map_linears("bert.encoder", change);
        change("bert.pooler.dense", &mut self.bert.pooler.dense);
        self.classifier.map_linears(change);
    }
}
