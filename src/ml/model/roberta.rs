//! RoBERTa with a classification head, read top to bottom: config, embeddings, attention, layer,
//! encoder, head.
//!
//! Source: `modeling_roberta.py` of transformers; module names are those of its parameters.

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Int, Tensor};
use serde_json::json;

use super::config::{Config, Fields};
use super::embedding::Embedding;
use super::gelu::gelu;
use super::linear::Linear;
use super::names::Names;
use super::norm::LayerNorm;
use crate::ml::dropout::Noise;

/// Eight times the layers of the deepest published model of this family.
const MOST_LAYERS: usize = 384;
/// XLM-R XXL has 10.7 billion.
const MOST_PARAMETERS: u128 = 1 << 34;

/// The fields of `config.json` that a RoBERTa is built from, with the defaults of transformers.
#[derive(Debug, Clone, PartialEq)]
pub struct RobertaConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    /// Rows of the position table, of which the first `pad_token_id + 1` are never used.
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub pad_token_id: usize,
    pub layer_norm_eps: f64,
    pub initializer_range: f64,
    pub hidden_dropout_prob: f64,
    pub attention_probs_dropout_prob: f64,
    /// Dropout before the head's layers; `hidden_dropout_prob` where the file says nothing.
    pub classifier_dropout: f64,
}

impl RobertaConfig {
    /// Reads the fields and refuses those that would change the computation in a way not built here.
    pub fn read(fields: &Fields) -> Result<Self> {
        fields.only("hidden_act", json!("gelu"))?;
        fields.only("position_embedding_type", json!("absolute"))?;
        fields.only("is_decoder", json!(false))?;
        fields.only("add_cross_attention", json!(false))?;
        fields.only("is_encoder_decoder", json!(false))?;
        fields.only("problem_type", json!("single_label_classification"))?;
        fields.empty("pruned_heads")?;
        let hidden_dropout_prob = fields.probability("hidden_dropout_prob", 0.1)?;
        let config = RobertaConfig {
            vocab_size: fields.size("vocab_size", 50265)?,
            hidden_size: fields.size("hidden_size", 768)?,
            num_hidden_layers: fields.size("num_hidden_layers", 12)?,
            num_attention_heads: fields.size("num_attention_heads", 12)?,
            intermediate_size: fields.size("intermediate_size", 3072)?,
            max_position_embeddings: fields.size("max_position_embeddings", 512)?,
            type_vocab_size: fields.size("type_vocab_size", 2)?,
            pad_token_id: fields.index("pad_token_id", 1)?,
            layer_norm_eps: fields.number("layer_norm_eps", 1e-12)?,
            initializer_range: fields.number("initializer_range", 0.02)?,
            hidden_dropout_prob,
            attention_probs_dropout_prob: fields.probability("attention_probs_dropout_prob", 0.1)?,
            classifier_dropout: fields.probability("classifier_dropout", hidden_dropout_prob)?,
        };
        ensure!(
            config.hidden_size.is_multiple_of(config.num_attention_heads),
            "field `hidden_size` is {}, which {} attention heads (`num_attention_heads`) do not divide",
            config.hidden_size,
            config.num_attention_heads
        );
        ensure!(
            config.max_position_embeddings > config.pad_token_id + 1,
            "field `max_position_embeddings` is {}; it must be larger than `pad_token_id` + 1 = {}",
            config.max_position_embeddings,
            config.pad_token_id + 1
        );
        ensure!(
            config.pad_token_id < config.vocab_size,
            "field `pad_token_id` is {}, outside the vocabulary of {} tokens (`vocab_size`)",
            config.pad_token_id,
            config.vocab_size
        );
        config.check_size()?;
        Ok(config)
    }

    /// Refuses what no machine could hold, before anything is made in that size.
    fn check_size(&self) -> Result<()> {
        ensure!(
            self.num_hidden_layers <= MOST_LAYERS,
            "field `num_hidden_layers` is {}; more than {MOST_LAYERS} is not supported",
            self.num_hidden_layers
        );
        let hidden = self.hidden_size as u128;
        let tables = self.vocab_size + self.max_position_embeddings + self.type_vocab_size;
        let layers = self.num_hidden_layers as u128 * (4 * hidden + 2 * self.intermediate_size as u128);
        let parameters = hidden * (tables as u128 + layers);
        ensure!(
            parameters <= MOST_PARAMETERS,
            "its fields make a model of {parameters} parameters; more than {MOST_PARAMETERS} is not supported"
        );
        Ok(())
    }

    /// Positions start after the padding id's row, so that many fewer than the table has rows.
    pub fn max_length(&self) -> usize {
        self.max_position_embeddings - self.pad_token_id - 1
    }
}

/// `RobertaForSequenceClassification`.
#[derive(Module, Debug)]
pub struct Roberta {
    pub roberta: Body,
    pub classifier: Head,
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
    pub const NAMES: Names = Names { body: "roberta", parts: &["embeddings", "encoder", "pooler"] };

    /// A model whose values are still to be filled in.
    pub fn empty(config: &Config, own: &RobertaConfig, device: &Device) -> Self {
        Roberta {
            roberta: Body {
                embeddings: Embeddings::empty(own, device),
                encoder: Encoder { layer: (0..own.num_hidden_layers).map(|_| Layer::empty(own, device)).collect() },
            },
            classifier: Head::empty(own, config.labels().len(), device),
            config: config.clone(),
        }
    }

    /// `ids` `[B, T]`, `mask` `[B, T]` (true = a real token) → logits `[B, C]`.
    pub fn forward(&self, ids: Tensor<2, Int>, mask: Tensor<2, Bool>, noise: &mut Noise) -> Tensor<2> {
        let [batch, length] = ids.dims();
        let bias = attention_bias(mask);
        let mut x = self.roberta.embeddings.forward(ids, noise);
        for layer in &self.roberta.encoder.layer {
            x = layer.forward(x, &bias, noise);
        }
        let [_, hidden] = x.dims();
        let first = x.reshape([batch, length, hidden]).slice([0..batch, 0..1]);
        self.classifier.forward(first.reshape([batch, hidden]), noise)
    }

    /// Applies `change` to every linear layer with its name in transformers.
    pub fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut Linear)) {
        for (i, layer) in self.roberta.encoder.layer.iter_mut().enumerate() {
            let at = format!("roberta.encoder.layer.{i}");
            let attention = &mut layer.attention.self_attention;
            change(&format!("{at}.attention.self.query"), &mut attention.query);
            change(&format!("{at}.attention.self.key"), &mut attention.key);
            change(&format!("{at}.attention.self.value"), &mut attention.value);
            change(&format!("{at}.attention.output.dense"), &mut layer.attention.output.dense);
            change(&format!("{at}.intermediate.dense"), &mut layer.intermediate.dense);
            change(&format!("{at}.output.dense"), &mut layer.output.dense);
        }
        change("classifier.dense", &mut self.classifier.dense);
        change("classifier.out_proj", &mut self.classifier.out_proj);
    }
}

/// What is added to the scores: 0 for real tokens and a number that the softmax turns into 0 for
/// padding. `mask` `[B, T]` → `[B, 1, 1, T]`.
///
/// The lowest finite f32, as transformers has it, would overflow when a score is added.
fn attention_bias(mask: Tensor<2, Bool>) -> Tensor<4> {
    let [batch, length] = mask.dims();
    (mask.bool_not().float() * -1e30).reshape([batch, 1, 1, length])
}

/// Sum of word, position and type embeddings, normalized.
#[derive(Module, Debug)]
pub struct Embeddings {
    pub word_embeddings: Embedding,
    pub position_embeddings: Embedding,
    pub token_type_embeddings: Embedding,
    pub layer_norm: LayerNorm,
    pub dropout: f64,
    pub pad_id: usize,
}

impl Embeddings {
    fn empty(c: &RobertaConfig, device: &Device) -> Self {
        Embeddings {
            word_embeddings: Embedding::empty(c.vocab_size, c.hidden_size, device),
            position_embeddings: Embedding::empty(c.max_position_embeddings, c.hidden_size, device),
            token_type_embeddings: Embedding::empty(c.type_vocab_size, c.hidden_size, device),
            layer_norm: LayerNorm::empty(c.hidden_size, c.layer_norm_eps, device),
            dropout: c.hidden_dropout_prob,
            pad_id: c.pad_token_id,
        }
    }

    /// `ids` `[B, T]` → `[B·T, H]`
    fn forward(&self, ids: Tensor<2, Int>, noise: &mut Noise) -> Tensor<2> {
        let positions = self.positions(ids.clone());
        let x = self.word_embeddings.forward(ids)
            + self.position_embeddings.forward(positions)
            + self.token_type_embeddings.row(0); // [B, T, H]
        let [batch, length, hidden] = x.dims();
        let x = self.layer_norm.forward(x.reshape([batch * length, hidden]));
        noise.dropout(x, self.dropout)
    }

    /// Real tokens count on from `pad_id + 1`; padding sits at `pad_id`
    /// (`create_position_ids_from_input_ids`). `[B, T]` → `[B, T]`
    fn positions(&self, ids: Tensor<2, Int>) -> Tensor<2, Int> {
        let real = ids.not_equal_elem(self.pad_id as i64).int();
        real.clone().cumsum(1) * real + self.pad_id as i64
    }
}

/// The stack of layers.
#[derive(Module, Debug)]
pub struct Encoder {
    pub layer: Vec<Layer>,
}

/// Attention and feed-forward, each with a residual and a normalization after it.
#[derive(Module, Debug)]
pub struct Layer {
    pub attention: Attention,
    pub intermediate: Intermediate,
    pub output: Output,
}

impl Layer {
    fn empty(c: &RobertaConfig, device: &Device) -> Self {
        let linear = |inputs, outputs| Linear::empty(inputs, outputs, device);
        let output = |inputs| Output {
            dense: linear(inputs, c.hidden_size),
            layer_norm: LayerNorm::empty(c.hidden_size, c.layer_norm_eps, device),
            dropout: c.hidden_dropout_prob,
        };
        Layer {
            attention: Attention {
                self_attention: SelfAttention {
                    query: linear(c.hidden_size, c.hidden_size),
                    key: linear(c.hidden_size, c.hidden_size),
                    value: linear(c.hidden_size, c.hidden_size),
                    heads: c.num_attention_heads,
                    dropout: c.attention_probs_dropout_prob,
                },
                output: output(c.hidden_size),
            },
            intermediate: Intermediate { dense: linear(c.hidden_size, c.intermediate_size) },
            output: output(c.intermediate_size),
        }
    }

    /// `x` `[B·T, H]`, `bias` `[B, 1, 1, T]` → `[B·T, H]`
    fn forward(&self, x: Tensor<2>, bias: &Tensor<4>, noise: &mut Noise) -> Tensor<2> {
        let context = self.attention.self_attention.forward(x.clone(), bias, noise);
        let x = self.attention.output.forward(context, x, noise);
        let inner = gelu(self.intermediate.dense.forward(x.clone(), noise)); // [B·T, I]
        self.output.forward(inner, x, noise)
    }
}

#[derive(Module, Debug)]
pub struct Attention {
    /// `self` in transformers, which is a keyword here.
    pub self_attention: SelfAttention,
    pub output: Output,
}

/// Scaled dot-product self-attention over several heads.
#[derive(Module, Debug)]
pub struct SelfAttention {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub heads: usize,
    pub dropout: f64,
}

impl SelfAttention {
    /// `x` `[B·T, H]`, `bias` `[B, 1, 1, T]` → `[B·T, H]`
    fn forward(&self, x: Tensor<2>, bias: &Tensor<4>, noise: &mut Noise) -> Tensor<2> {
        let [rows, hidden] = x.dims();
        let [batch, _, _, length] = bias.dims();
        let width = hidden / self.heads;
        let split = |x: Tensor<2>| x.reshape([batch, length, self.heads, width]).swap_dims(1, 2);
        // Scaling the queries costs less than scaling the scores.
        let q = split(self.query.forward(x.clone(), noise) * (width as f64).powf(-0.5)); // [B, h, T, H/h]
        let k = split(self.key.forward(x.clone(), noise));
        let v = split(self.value.forward(x, noise));
        let scores = q.matmul(k.swap_dims(2, 3)) + bias.clone(); // [B, h, T, T]
        let weights = noise.dropout(softmax(scores, 3), self.dropout);
        weights.matmul(v).swap_dims(1, 2).reshape([rows, hidden])
    }
}

/// The feed-forward's wide half.
#[derive(Module, Debug)]
pub struct Intermediate {
    pub dense: Linear,
}

/// A projection back to the hidden width, dropout, residual and normalization.
#[derive(Module, Debug)]
pub struct Output {
    pub dense: Linear,
    pub layer_norm: LayerNorm,
    pub dropout: f64,
}

impl Output {
    /// `x` `[B·T, I]`, `residual` `[B·T, H]` → `[B·T, H]`
    fn forward(&self, x: Tensor<2>, residual: Tensor<2>, noise: &mut Noise) -> Tensor<2> {
        let x = self.dense.forward(x, noise);
        self.layer_norm.forward(noise.dropout(x, self.dropout) + residual)
    }
}

/// `RobertaClassificationHead`: two layers on the first token (`<s>`).
#[derive(Module, Debug)]
pub struct Head {
    pub dense: Linear,
    pub out_proj: Linear,
    pub dropout: f64,
}

impl Head {
    fn empty(c: &RobertaConfig, labels: usize, device: &Device) -> Self {
        Head {
            dense: Linear::empty(c.hidden_size, c.hidden_size, device),
            out_proj: Linear::empty(c.hidden_size, labels, device),
            dropout: c.classifier_dropout,
        }
    }

    /// `x` `[B, H]` → `[B, C]`
    fn forward(&self, x: Tensor<2>, noise: &mut Noise) -> Tensor<2> {
        let x = noise.dropout(x, self.dropout);
        let x = self.dense.forward(x, noise).tanh();
        self.out_proj.forward(noise.dropout(x, self.dropout), noise)
    }
}
