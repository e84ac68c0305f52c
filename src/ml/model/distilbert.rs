//! DistilBERT with a classification head: config, names, model, forward.
//!
//! Source: `modeling_distilbert.py` of transformers. The computation is BERT's without token types and pooler; the parameter
//! names differ.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Bool, Device, Int, Tensor};

use super::activation::Activation;
use super::config::{Config, Fields};
use super::embedding::{Embeddings, Positions};
use super::encoder::{Encoder, EncoderConfig, first_tokens};
use super::head::{Head, HeadConfig};
use super::linear::Linear;
use super::names::Names;
use crate::compute::dropout::Pass;

/// The fields of `config.json` that a DistilBERT is built from.
#[derive(Debug, Clone, PartialEq)]
pub struct DistilBertConfig {
    pub encoder: EncoderConfig,
    /// Dropout before the classifier.
    pub seq_classif_dropout: f64,
}

impl DistilBertConfig {
    /// The field with the number of layers.
    pub const LAYERS: &'static str = "n_layers";
    /// The field with the width of the feed-forward layers.
    pub const INTERMEDIATE: &'static str = "hidden_dim";

    /// Reads the fields; fails on values that would require a computation that is not implemented.
    pub fn read(fields: &Fields) -> Result<Self> {
        // `sinusoidal_pos_embds` affects only the initialisation of the position table.
        fields.neutral(&["qa_dropout", "sinusoidal_pos_embds", "tie_weights_"]);
        let encoder = EncoderConfig {
            vocab_size: fields.size("vocab_size", 30522)?,
            hidden_size: fields.size("dim", 768)?,
            num_hidden_layers: fields.size(Self::LAYERS, 6)?,
            num_attention_heads: fields.size("n_heads", 12)?,
            intermediate_size: fields.size(Self::INTERMEDIATE, 3072)?,
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
}

/// DistilBERT's names for the modules of an [`Encoder`].
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

/// Converts the name of a parameter or module to its name in DistilBERT files; returns names of other families unchanged.
pub fn rename(name: String) -> String {
    const ENCODER: &str = "distilbert.encoder.layer.";
    let Some((number, module)) = name.strip_prefix(ENCODER).and_then(|rest| rest.split_once('.')) else { return name };
    let renamed = RENAMED.iter().find_map(|(ours, theirs)| Some(format!("{theirs}{}", module.strip_prefix(ours)?)));
    format!("distilbert.transformer.layer.{number}.{}", renamed.as_deref().unwrap_or(module))
}

/// `DistilBertForSequenceClassification`.
#[derive(Module, Debug)]
pub struct DistilBert {
    pub distilbert: Body,
    pub pre_classifier: Linear,
    pub classifier: Head,
    pub classifier_dropout: f64,
    #[module(skip)]
    pub config: Config,
}

/// `DistilBertModel`.
#[derive(Module, Debug)]
pub struct Body {
    pub embeddings: Embeddings,
    pub encoder: Encoder,
}

impl DistilBert {
    /// The names of tensors in its checkpoints.
    pub const NAMES: Names = Names { body: "distilbert", parts: &["embeddings", "transformer"] };

    /// A model without values; the caller fills them in.
    pub fn empty(config: &Config, own: &DistilBertConfig, device: &Device) -> Self {
        let c = &own.encoder;
        let mut encoder = Encoder::empty(c, device);
        // Unlike BERT, DistilBERT has no dropout between attention and residual.
        encoder.layer.iter_mut().for_each(|layer| layer.attention.output.dropout = 0.0);
        DistilBert {
            distilbert: Body { embeddings: Embeddings::empty(c, Positions::FromZero, device), encoder },
            pre_classifier: Linear::empty(c.hidden_size, c.hidden_size, device),
            classifier: Head::single(HeadConfig::of(config), device),
            classifier_dropout: own.seq_classif_dropout,
            config: config.clone(),
        }
    }

    /// `ids` `[B, T]`, `mask` `[B, T]` (true = a real token) → logits `[B, C]`.
    pub fn forward(&self, ids: Tensor<2, Int>, mask: Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        let [batch, _] = ids.dims();
        let x = self.distilbert.embeddings.forward(ids, pass); // [B·T, H]
        let x = self.distilbert.encoder.forward(x, mask, pass);
        self.head(x, batch, pass)
    }

    /// The encoder's output `x` `[B·T, H]` → logits `[B, C]`.
    pub fn head(&self, x: Tensor<2>, batch: usize, pass: &mut Pass) -> Tensor<2> {
        let pooled = relu(self.pre_classifier.forward(first_tokens(x, batch), pass)); // [B, H]
        self.classifier.forward(pooled, self.classifier_dropout, pass)
    }

    /// Applies `change` to every linear layer with its name in transformers.
    pub fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut Linear)) {
        let encoder = &mut self.distilbert.encoder;
        encoder.map_linears("distilbert.encoder", &mut |name, linear| change(&rename(name.to_owned()), linear));
        change("pre_classifier", &mut self.pre_classifier);
        self.classifier.map_linears(change);
    }
}
