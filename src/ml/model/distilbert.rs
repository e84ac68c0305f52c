//! DistilBERT with a classification head: config, names, modules.
//!
//! Source: `modeling_distilbert.py` of transformers. The computation is BERT's without token types and pooler; the parameter
//! names differ.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Bool, Device, Tensor};

use super::activation::Activation;
use super::embedding::{Embeddings, Positions};
use super::encoder::{Encoder, EncoderConfig, Layers, first_tokens};
use super::fields::Fields;
use super::head::{Head, HeadConfig};
use super::linear::Linear;
use super::names::{Names, Renamed};
use super::network::{FamilyConfig, Network};
use crate::compute::dropout::Pass;
use crate::text::ids::Ids;

/// The fields of `config.json` that a DistilBERT is built from.
#[derive(Debug, Clone, PartialEq)]
pub struct DistilBertConfig {
    pub encoder: EncoderConfig,
    /// Dropout before the classifier.
    pub seq_classif_dropout: f64,
}

/// BERT's names for the modules of a layer, which [`Encoder`] has, and DistilBERT's.
const RENAMED: &[(&str, &str)] = &[
    ("attention.self.query", "attention.q_lin"),
    ("attention.self.key", "attention.k_lin"),
    ("attention.self.value", "attention.v_lin"),
    ("attention.output.dense", "attention.out_lin"),
    ("attention.output.LayerNorm", "sa_layer_norm"),
    ("intermediate.dense", "ffn.lin1"),
    ("output.dense", "ffn.lin2"),
    ("output.LayerNorm", "output_layer_norm"),
];

impl FamilyConfig for DistilBertConfig {
    const NAMES: Names = Names {
        types: &[("distilbert", "DistilBertForSequenceClassification")],
        layers: "n_layers",
        intermediate: "hidden_dim",
        body: "distilbert",
        parts: &["embeddings", "transformer"],
        renamed: Some(Renamed { encoder: "transformer", modules: RENAMED }),
        adapted: &["q_lin", "v_lin"],
        ..Names::BERT
    };

    type Network = DistilBert;

    fn read(fields: &Fields) -> Result<Self> {
        // `sinusoidal_pos_embds` affects only the initialisation of the position table.
        fields.neutral(&["qa_dropout", "sinusoidal_pos_embds", "tie_weights_"]);
        let encoder = EncoderConfig {
            vocab_size: fields.size("vocab_size", 30522)?,
            hidden_size: fields.size("dim", 768)?,
            num_hidden_layers: fields.size(Self::NAMES.layers, 6)?,
            num_attention_heads: fields.size("n_heads", 12)?,
            intermediate_size: fields.size(Self::NAMES.intermediate, 3072)?,
            max_position_embeddings: fields.size("max_position_embeddings", 512)?,
            type_vocab_size: 0,
            pad_token_id: fields.index("pad_token_id", 0)?,
            layer_norm_eps: 1e-12,
            initializer_range: fields.number("initializer_range", 0.02)?,
            hidden_dropout_prob: fields.probability("dropout", 0.1)?,
            attention_probs_dropout_prob: fields.probability("attention_dropout", 0.1)?,
            hidden_act: Activation::read(fields, "activation", "gelu")?,
        };
        let encoder = encoder.checked(fields)?;
        Ok(DistilBertConfig { encoder, seq_classif_dropout: fields.probability("seq_classif_dropout", 0.2)? })
    }

    fn encoder(&self) -> &EncoderConfig {
        &self.encoder
    }

    fn build(&self, head: HeadConfig, device: &Device) -> DistilBert {
        let c = &self.encoder;
        let mut encoder = Encoder::empty(c, device);
        // Unlike BERT, DistilBERT has no dropout between attention and residual.
        encoder.layer.iter_mut().for_each(|layer| layer.attention.output.dropout = 0.0);
        DistilBert {
            distilbert: Body { embeddings: Embeddings::empty(c, Positions::FromZero, device), encoder },
            pre_classifier: Linear::empty(c.hidden_size, c.hidden_size, device),
            classifier: Head::single(head, device),
            classifier_dropout: self.seq_classif_dropout,
        }
    }
}

/// `DistilBertForSequenceClassification`.
#[derive(Module, Debug)]
pub(crate) struct DistilBert {
    distilbert: Body,
    pre_classifier: Linear,
    classifier: Head,
    classifier_dropout: f64,
}

/// `DistilBertModel`.
#[derive(Module, Debug)]
struct Body {
    embeddings: Embeddings,
    encoder: Encoder,
}

impl Network for DistilBert {
    type Encoder = Encoder;

    fn encoder(&self) -> &Encoder {
        &self.distilbert.encoder
    }

    fn embed(&self, ids: Ids, _: &Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        self.distilbert.embeddings.forward(ids, pass)
    }

    fn head(&self, x: Tensor<2>, batch: usize, pass: &mut Pass) -> Tensor<2> {
        let pooled = relu(self.pre_classifier.forward(first_tokens(x, batch), pass)); // [B, H]
        self.classifier.forward(pooled, self.classifier_dropout, pass)
    }

    fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut Linear)) {
        let names = DistilBertConfig::NAMES;
        let encoder = &mut self.distilbert.encoder;
        encoder.map_linears("distilbert.encoder", &mut |path, linear| change(&names.in_files(path.to_owned()), linear));
        change("pre_classifier", &mut self.pre_classifier);
        self.classifier.map_linears(change);
    }
}
