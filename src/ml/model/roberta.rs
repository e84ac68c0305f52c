//! RoBERTa with a classification head: config, names, modules. XLM-R and DistilRoBERTa have the same layout.
//!
//! Source: `modeling_roberta.py` of transformers; the module names match its parameter names.

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

impl FamilyConfig for RobertaConfig {
    const NAMES: Names = Names {
        types: &[
            ("roberta", "RobertaForSequenceClassification"),
            ("xlm-roberta", "XLMRobertaForSequenceClassification"),
        ],
        body: "roberta",
        padded: &["word_embeddings", "position_embeddings"],
        ..Names::BERT
    };

    type Network = Roberta;

    fn read(fields: &Fields) -> Result<Self> {
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

    fn encoder(&self) -> &EncoderConfig {
        &self.encoder
    }

    /// Shorter than the table, because positions start after the row of the padding id.
    fn max_length(&self) -> usize {
        self.encoder.max_position_embeddings - self.encoder.pad_token_id - 1
    }

    fn build(&self, head: HeadConfig, device: &Device) -> Roberta {
        let c = &self.encoder;
        Roberta {
            roberta: Body {
                embeddings: Embeddings::empty(c, Positions::AfterPadding, device),
                encoder: Encoder::empty(c, device),
            },
            classifier: Head::dense(head, device),
            classifier_dropout: self.classifier_dropout,
        }
    }
}

/// `RobertaForSequenceClassification`.
#[derive(Module, Debug)]
pub(crate) struct Roberta {
    roberta: Body,
    classifier: Head,
    classifier_dropout: f64,
}

/// `RobertaModel` without the pooler.
#[derive(Module, Debug)]
struct Body {
    embeddings: Embeddings,
    encoder: Encoder,
}

impl Network for Roberta {
    type Encoder = Encoder;

    fn encoder(&self) -> &Encoder {
        &self.roberta.encoder
    }

    fn embed(&self, ids: Ids, _: &Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        self.roberta.embeddings.forward(ids, pass)
    }

    fn head(&self, x: Tensor<2>, batch: usize, pass: &mut Pass) -> Tensor<2> {
        self.classifier.forward(first_tokens(x, batch), self.classifier_dropout, pass)
    }

    fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut Linear)) {
        self.roberta.encoder.map_linears("roberta.encoder", change);
        self.classifier.map_linears(change);
    }
}
