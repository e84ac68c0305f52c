//! DeBERTa-v2 and -v3 with a classification head: config, names, modules, pooler.
//!
//! Source: He et al. 2021, "DeBERTa" and "DeBERTaV3"; `modeling_deberta_v2.py` of transformers, whose parameter names the
//! module names match.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};
use serde_json::json;

use super::distance::RelativeConfig;
use super::encoder::Encoder;
use crate::compute::dropout::Pass;
use crate::model::activation::Activation;
use crate::model::conv::ConvConfig;
use crate::model::embedding::{Embeddings, Positions};
use crate::model::encoder::{EncoderConfig, Layers, first_tokens};
use crate::model::fields::Fields;
use crate::model::head::{Head, HeadConfig};
use crate::model::linear::Linear;
use crate::model::names::Names;
use crate::model::network::{FamilyConfig, Network};
use crate::text::ids::Ids;

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

impl FamilyConfig for DebertaConfig {
    const NAMES: Names = Names {
        types: &[("deberta-v2", "DebertaV2ForSequenceClassification")],
        body: "deberta",
        parts: &["embeddings", "encoder"],
        adapted: &["query_proj", "value_proj"],
        ..Names::BERT
    };

    type Network = Deberta;

    fn read(fields: &Fields) -> Result<Self> {
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

    fn encoder(&self) -> &EncoderConfig {
        &self.encoder
    }

    fn build(&self, head: HeadConfig, device: &Device) -> Deberta {
        let c = &self.encoder;
        let positions = if self.position_biased_input { Positions::FromZero } else { Positions::None };
        let encoder = Encoder::empty(c, self.relative, self.conv.as_ref(), device);
        Deberta {
            deberta: Body { embeddings: Embeddings::empty(c, positions, device), encoder },
            pooler: Pooler {
                dense: Linear::empty(c.hidden_size, c.hidden_size, device),
                dropout: self.pooler_dropout,
                activation: self.pooler_hidden_act,
            },
            classifier: Head::single(head, device),
            cls_dropout: self.cls_dropout,
        }
    }
}

/// `DebertaV2ForSequenceClassification`.
#[derive(Module, Debug)]
pub(crate) struct Deberta {
    deberta: Body,
    pooler: Pooler,
    classifier: Head,
    cls_dropout: f64,
}

/// `DebertaV2Model`.
#[derive(Module, Debug)]
struct Body {
    embeddings: Embeddings,
    encoder: Encoder,
}

impl Network for Deberta {
    type Encoder = Encoder;

    fn encoder(&self) -> &Encoder {
        &self.deberta.encoder
    }

    /// Sets padding to zero, because the attention mask has no effect in a row that is all padding.
    fn embed(&self, ids: Ids, mask: &Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        let [batch, length] = ids.dims();
        let embeddings = &self.deberta.embeddings;
        let real = mask.clone().float().reshape([batch * length, 1]);
        pass.dropout(embeddings.normalized(ids) * real, embeddings.dropout)
    }

    fn head(&self, x: Tensor<2>, batch: usize, pass: &mut Pass) -> Tensor<2> {
        let pooled = self.pooler.forward(first_tokens(x, batch), pass);
        self.classifier.forward(pooled, self.cls_dropout, pass)
    }

    fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut Linear)) {
        self.deberta.encoder.map_linears("deberta.encoder", change);
        change("pooler.dense", &mut self.pooler.dense);
        self.classifier.map_linears(change);
    }
}

/// `ContextPooler`: a layer on the first token (`[CLS]`).
#[derive(Module, Debug)]
struct Pooler {
    dense: Linear,
    dropout: f64,
    #[module(skip)]
    activation: Activation,
}

impl Pooler {
    /// `x` `[B, H]` → `[B, H]`.
    fn forward(&self, x: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        let x = pass.dropout(x, self.dropout);
        self.activation.forward(self.dense.forward(x, pass))
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Config;

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
