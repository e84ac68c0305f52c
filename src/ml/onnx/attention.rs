//! Adds the attention of BERT and RoBERTa to a graph, and the layer around any attention.

use super::graph::{Attribute, Graph, Value};
use super::precision::Precision;
use super::tensor::Type;
use crate::model::encoder::EncoderConfig;

impl Graph {
    /// Adds the rest of the layer `at` after its attention, like [`Layer`](crate::model::encoder::Layer): the layer's
    /// input `x` `[B, T, H]` and the attention's output `attended` `[B, T, H]` → `[B, T, H]`.
    pub(super) fn layer(&mut self, c: &EncoderConfig, at: &str, x: &Value, attended: &Value) -> Value {
        let x = self.projected(c, &format!("{at}.attention.output"), attended, x);
        let inner = self.linear(&format!("{at}.intermediate.dense"), &x); // [B, T, I]
        let inner = self.within(&format!("{at}.intermediate"), |g| g.activation(c.hidden_act, &inner));
        self.projected(c, &format!("{at}.output"), &inner, &x)
    }

    /// A projection back to the hidden width, residual and normalization.
    fn projected(&mut self, c: &EncoderConfig, at: &str, x: &Value, residual: &Value) -> Value {
        let x = self.linear(&format!("{at}.dense"), x);
        let sum = self.within(at, |g| g.op("Add", &[&x, residual]));
        self.layer_norm(&format!("{at}.LayerNorm"), c.layer_norm_eps, &sum)
    }

    /// Self-attention `at`: `x` `[B, T, H]`, `bias` `[B, 1, 1, T]` → `[B, T, H]`.
    pub(super) fn self_attention(&mut self, c: &EncoderConfig, at: &str, x: &Value, bias: &Value) -> Value {
        let q = self.linear(&format!("{at}.query"), x);
        let k = self.linear(&format!("{at}.key"), x);
        let v = self.linear(&format!("{at}.value"), x);
        self.within(at, |g| {
            let scale = g.number((c.head_size() as f64).powf(-0.5));
            let q = g.op("Mul", &[&q, &scale]);
            let q = g.heads(c, &q, Order::Rows);
            let k = g.heads(c, &k, Order::Columns);
            let v = g.heads(c, &v, Order::Rows);
            let scores = g.op("MatMul", &[&q, &k]); // [B, h, T, T]
            g.attend(c, &scores, bias, &v)
        })
    }

    /// `scores` `[B, h, T, T]`, `bias` `[B, 1, 1, T]`, `values` `[B, h, T, D]` → `[B, T, H]`.
    pub(super) fn attend(&mut self, c: &EncoderConfig, scores: &Value, bias: &Value, values: &Value) -> Value {
        let scores = self.masked(scores, bias);
        let weights = self.op_with("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
        let mixed = self.op("MatMul", &[&weights, values]);
        let mixed = self.transpose(&mixed, &[0, 2, 1, 3]);
        let whole = self.axes(&[0, 0, c.hidden_size as i64]);
        self.op("Reshape", &[&mixed, &whole])
    }

    /// `x` `[B, T, H]` → `[B, h, T, D]`, or `[B, h, D, T]`.
    pub(super) fn heads(&mut self, c: &EncoderConfig, x: &Value, order: Order) -> Value {
        // 0 keeps the size of an axis, which stays dynamic.
        let shape = self.axes(&[0, 0, c.num_attention_heads as i64, c.head_size() as i64]);
        let split = self.op("Reshape", &[x, &shape]);
        self.transpose(&split, if order == Order::Rows { &[0, 2, 1, 3] } else { &[0, 2, 3, 1] })
    }

    pub(super) fn transpose(&mut self, x: &Value, axes: &[i64]) -> Value {
        self.op_with("Transpose", &[x], &[("perm", Attribute::Ints(axes))])
    }

    /// The padding mask for [`Graph::attend`]: `real` `[B, T]` → `[B, 1, 1, T]`.
    ///
    /// As in [`attention_bias`](crate::model::encoder::attention_bias), these are numbers to add to the scores. No f16
    /// number is both low enough and safe to add to any score, so in f16 the mask is boolean: true for real tokens.
    pub(super) fn attention_bias(&mut self, real: &Value) -> Value {
        let axes = self.axes(&[1, 2]);
        let real = self.op("Unsqueeze", &[real, &axes]);
        if self.precision == Precision::F16 {
            return self.cast(&real, Type::Bool);
        }
        let (one, lowest) = (self.number(1.0), self.number(-1e30));
        let padding = self.op("Sub", &[&one, &real]);
        self.op("Mul", &[&padding, &lowest])
    }

    /// Applies the mask: the softmax of the result is 0 for padding.
    fn masked(&mut self, scores: &Value, bias: &Value) -> Value {
        if self.precision == Precision::F16 {
            let lowest = self.number(-3e4);
            return self.op("Where", &[bias, scores, &lowest]);
        }
        self.op("Add", &[scores, bias])
    }
}

/// Whether a head's vectors are the rows or the columns of its matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Rows,
    Columns,
}
