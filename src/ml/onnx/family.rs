//! Builds the graph of each family from its inputs to the logits: embeddings, encoder, head.

use super::graph::{Attribute, Graph, INPUTS, LOGITS, TYPES, Value};
use super::tensor::Type;
use crate::model::activation::Activation;
use crate::model::embedding::Positions;
use crate::model::encoder::EncoderConfig;
use crate::model::head::HeadKind;
use crate::model::{Config, Family};

/// A batch inside the graph.
pub(super) struct Batch {
    /// `[B, T]`
    pub ids: Value,
    /// `[B, T]`, the rows of the table of token types; `None` if all are 0.
    pub types: Option<Value>,
    /// `[B, T]`, 1 for a real token and 0 for padding, in the graph's float type.
    pub real: Value,
    /// T, as `[1]`.
    pub length: Value,
}

impl Graph {
    /// Adds everything from the inputs to [`LOGITS`].
    pub(super) fn classifier(&mut self, config: &Config) {
        let batch = self.batch();
        let logits = match &config.family {
            Family::Roberta(own) => {
                let first = self.bert(&own.encoder, "roberta", Positions::AfterPadding, &batch);
                self.head(config, &first, true)
            }
            Family::Bert(own) => {
                let first = self.bert(&own.encoder, "bert", Positions::FromZero, &batch);
                let pooled = self.pooler("bert.pooler.dense", Activation::Tanh, &first);
                self.head(config, &pooled, false)
            }
            Family::DistilBert(own) => {
                let first = self.bert(&own.encoder, "distilbert", Positions::FromZero, &batch);
                let pooled = self.pooler("pre_classifier", Activation::Relu, &first);
                self.head(config, &pooled, false)
            }
            Family::Deberta(own) => {
                let first = self.deberta(own, config.max_length(), &batch);
                let pooled = self.pooler("pooler.dense", own.pooler_hidden_act, &first);
                self.head(config, &pooled, false)
            }
        };
        let logits = if self.precision.float() == Type::Float { logits } else { self.cast(&logits, Type::Float) };
        self.output(LOGITS, &logits);
    }

    fn batch(&mut self) -> Batch {
        let [ids, mask] = INPUTS.map(|name| self.input(name));
        let types = self.inputs.contains(&TYPES).then(|| self.input(TYPES));
        let shape = self.op("Shape", &[&ids]);
        let second = self.axes(&[1]);
        let length = self.op("Gather", &[&shape, &second]);
        Batch { real: self.cast(&mask, self.precision.float()), length, ids, types }
    }

    /// Adds a BERT, or a family with the same structure; returns the first token's vector `[B, H]`.
    fn bert(&mut self, c: &EncoderConfig, body: &str, positions: Positions, batch: &Batch) -> Value {
        let mut x = self.embeddings(c, body, positions, batch);
        let bias = self.within(body, |g| g.attention_bias(&batch.real));
        for layer in 0..c.num_hidden_layers {
            let at = format!("{body}.encoder.layer.{layer}");
            let attended = self.self_attention(c, &format!("{at}.attention.self"), &x, &bias);
            x = self.layer(c, &at, &x, &attended);
        }
        self.first_tokens(&x)
    }

    /// The sum of the tables, normalized: `[B, T, H]`.
    pub(super) fn embeddings(&mut self, c: &EncoderConfig, body: &str, positions: Positions, batch: &Batch) -> Value {
        let at = format!("{body}.embeddings");
        let mut x = self.embedding(&format!("{at}.word_embeddings"), &batch.ids);
        let places = self.within(&at, |g| match positions {
            Positions::None => None,
            Positions::FromZero => Some(g.start_at_zero(&batch.length)),
            Positions::AfterPadding => Some(g.after_padding(c.pad_token_id as i64, &batch.ids)),
        });
        if let Some(places) = places {
            let rows = self.embedding(&format!("{at}.position_embeddings"), &places);
            x = self.within(&at, |g| g.op("Add", &[&x, &rows]));
        }
        if c.type_vocab_size > 0 {
            // All tokens of single texts have the first type.
            let types = batch.types.clone().unwrap_or_else(|| self.index(0));
            let row = self.embedding(&format!("{at}.token_type_embeddings"), &types);
            x = self.within(&at, |g| g.op("Add", &[&x, &row]));
        }
        self.layer_norm(&format!("{at}.LayerNorm"), c.layer_norm_eps, &x)
    }

    /// 0, 1, 2, …: `[T]`.
    fn start_at_zero(&mut self, length: &Value) -> Value {
        let (zero, one) = (self.index(0), self.index(1));
        let end = self.op("Squeeze", &[length]);
        self.op("Range", &[&zero, &end, &one])
    }

    /// Positions of real tokens count up from `pad + 1`; padding has position `pad`: `[B, T]`.
    fn after_padding(&mut self, pad: i64, ids: &Value) -> Value {
        let (pad, axis) = (self.index(pad), self.index(1));
        let padding = self.op("Equal", &[ids, &pad]);
        let real = self.op("Not", &[&padding]);
        let real = self.cast(&real, Type::Int64);
        let counted = self.op("CumSum", &[&real, &axis]);
        let counted = self.op("Mul", &[&counted, &real]);
        self.op("Add", &[&counted, &pad])
    }

    /// `x` `[B, T, H]` → `[B, H]`.
    pub(super) fn first_tokens(&mut self, x: &Value) -> Value {
        let first = self.index(0);
        self.op_with("Gather", &[x, &first], &[("axis", Attribute::Int(1))])
    }

    /// `x` `[B, H]` → `[B, H]`.
    fn pooler(&mut self, module: &str, activation: Activation, x: &Value) -> Value {
        let x = self.float_linear(module, x);
        self.within(module, |g| g.activation(activation, &x))
    }

    /// `x` `[B, H]` → logits `[B, C]`.
    fn head(&mut self, config: &Config, x: &Value, is_dense: bool) -> Value {
        let (layers, between): (&[&str], _) = match (config.head(), is_dense) {
            (HeadKind::Mlp, _) => (&["layers.0", "layers.1", "layers.2"], Activation::Relu),
            (HeadKind::Standard, true) => (&["dense", "out_proj"], Activation::Tanh),
            (HeadKind::Standard, false) => (&[], Activation::Tanh),
        };
        if layers.is_empty() {
            return self.float_linear("classifier", x);
        }
        let mut x = x.clone();
        for (i, layer) in layers.iter().enumerate() {
            let module = format!("classifier.{layer}");
            if i > 0 {
                x = self.within(&module, |g| g.activation(between, &x));
            }
            x = self.float_linear(&module, &x);
        }
        x
    }
}
