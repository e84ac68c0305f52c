//! Adds DeBERTa's encoder to a graph: content scores, distance scores, and the convolution after the first layer.

use super::attention::Order;
use super::family::Batch;
use super::graph::{Attribute, Graph, Value};
use crate::model::conv::ConvConfig;
use crate::model::deberta::DebertaConfig;
use crate::model::embedding::Positions;

/// Data about a batch that the attention of all layers shares.
struct Places {
    /// `[B, 1, 1, T]`
    bias: Value,
    distances: Option<Distances>,
}

/// The embeddings of distances and their indices, as in `ml::model::deberta::Distances`.
struct Distances {
    /// `[2·span, H]`
    rows: Value,
    /// The row for a key `c − (T − 1)` tokens after the query, for each `c < 2T`.
    by_key: Value,
    /// The row for a query `c − (T − 1)` tokens after the key.
    by_query: Value,
    skew: Skew,
}

/// The slices that extract the scores from the products; `T` is known only when the graph runs.
struct Skew {
    /// T − 1
    start: Value,
    /// T − 1 + T · (2T − 1)
    end: Value,
    /// The shape `[B, h, T, 2T − 1]` for `Reshape`.
    shape: Value,
    length: Value,
}

/// A range along one axis.
struct Range<'a> {
    axis: i64,
    start: &'a Value,
    end: &'a Value,
}

impl Graph {
    /// Adds a DeBERTa for sequences of at most `longest` tokens; returns the first token's vector `[B, H]`.
    pub(super) fn deberta(&mut self, own: &DebertaConfig, longest: usize, batch: &Batch) -> Value {
        let c = &own.encoder;
        let positions = if own.position_biased_input { Positions::FromZero } else { Positions::None };
        let x = self.embeddings(c, "deberta", positions, batch);
        let last = self.axes(&[-1]);
        let (real, embedded) = self.within("deberta.embeddings", |g| {
            let real = g.op("Unsqueeze", &[&batch.real, &last]); // [B, T, 1]
            let masked = g.op("Mul", &[&x, &real]);
            (real, masked)
        });
        let places = Places {
            bias: self.within("deberta.encoder", |g| g.attention_bias(&batch.real)),
            distances: own.relative.attention.then(|| self.distances(own, longest, &batch.length)),
        };
        let mut x = embedded.clone();
        for layer in 0..c.num_hidden_layers {
            let at = format!("deberta.encoder.layer.{layer}");
            let attended = self.disentangled(own, &format!("{at}.attention.self"), &x, &places);
            x = self.layer(c, &at, &x, &attended);
            if let (0, Some(conv)) = (layer, &own.conv) {
                x = self.conv(own, conv, [&embedded, &x, &real]);
            }
        }
        self.first_tokens(&x)
    }

    fn distances(&mut self, own: &DebertaConfig, longest: usize, length: &Value) -> Distances {
        let (at, relative) = ("deberta.encoder", &own.relative);
        let mut rows = self.vector(&format!("{at}.rel_embeddings.weight"));
        if relative.layer_norm {
            rows = self.layer_norm(&format!("{at}.LayerNorm"), own.encoder.layer_norm_eps, &rows);
        }
        // All distances of the longest sequence; a shorter sequence uses the middle. Nothing reads the last column.
        let last = longest as i64 - 1;
        let table = |sign: i64| -> Vec<i64> {
            (-last..=last + 1).map(|distance| relative.row(sign * distance.min(last)) as i64).collect()
        };
        self.within(at, |g| {
            let (by_key, by_query) = (g.list("rows by key", &table(-1)), g.list("rows by query", &table(1)));
            let (middle, one, two) = (g.axes(&[longest as i64]), g.axes(&[1]), g.axes(&[2]));
            let (start, end) = (g.op("Sub", &[&middle, length]), g.op("Add", &[&middle, length]));
            let reach = Range { axis: 0, start: &start, end: &end };
            let (by_key, by_query) = (g.slice(&by_key, &reach), g.slice(&by_query, &reach));
            let start = g.op("Sub", &[length, &one]);
            let double = g.op("Mul", &[length, &two]);
            let wide = g.op("Sub", &[&double, &one]);
            let numbers = g.op("Mul", &[length, &wide]);
            let end = g.op("Add", &[&start, &numbers]);
            let (same, rest) = (g.axes(&[0, 0]), g.axes(&[-1]));
            let shape = g.op_with("Concat", &[&same, length, &rest], &[("axis", Attribute::Int(0))]);
            Distances { rows, by_key, by_query, skew: Skew { start, end, shape, length: length.clone() } }
        })
    }

    /// Self-attention `at` with separate scores for content and distance: `x` `[B, T, H]` → `[B, T, H]`.
    fn disentangled(&mut self, own: &DebertaConfig, at: &str, x: &Value, places: &Places) -> Value {
        let c = &own.encoder;
        let scale = ((c.head_size() * own.relative.parts()) as f64).powf(-0.5);
        let [q, k, v] = ["query_proj", "key_proj", "value_proj"].map(|name| self.linear(&format!("{at}.{name}"), x));
        let (q, k, v) = self.within(at, |g| {
            let scale = g.number(scale);
            let q = g.op("Mul", &[&q, &scale]);
            (g.heads(c, &q, Order::Rows), g.heads(c, &k, Order::Rows), g.heads(c, &v, Order::Rows)) // [B, h, T, D]
        });
        let turned = self.within(at, |g| g.transpose(&k, &[0, 1, 3, 2]));
        let mut scores = self.within(at, |g| g.op("MatMul", &[&q, &turned]));
        let Some(distances) = &places.distances else {
            return self.within(at, |g| g.attend(c, &scores, &places.bias, &v));
        };
        let shared = own.relative.share_att_key;
        if own.relative.c2p {
            let module = format!("{at}.{}", if shared { "key_proj" } else { "pos_key_proj" });
            let rows = self.float_linear(&module, &distances.rows);
            scores = self.within(at, |g| {
                let more = g.by_distance(own, &q, &rows, &distances.by_key);
                let more = g.skewed(&more, &distances.skew);
                g.op("Add", &[&scores, &more])
            });
        }
        if own.relative.p2c {
            let module = format!("{at}.{}", if shared { "query_proj" } else { "pos_query_proj" });
            let rows = self.float_linear(&module, &distances.rows);
            scores = self.within(at, |g| {
                let scale = g.number(scale);
                let rows = g.op("Mul", &[&rows, &scale]);
                let more = g.by_distance(own, &k, &rows, &distances.by_query);
                let more = g.skewed(&more, &distances.skew);
                let more = g.transpose(&more, &[0, 1, 3, 2]);
                g.op("Add", &[&scores, &more])
            });
        }
        self.within(at, |g| g.attend(c, &scores, &places.bias, &v))
    }

    /// The product of each token with each distance: `x` `[B, h, T, D]`, `rows` `[2·span, H]`, `index` `[2T]` → `[B, h, T, 2T]`.
    fn by_distance(&mut self, own: &DebertaConfig, x: &Value, rows: &Value, index: &Value) -> Value {
        let c = &own.encoder;
        let shape = self.axes(&[0, c.num_attention_heads as i64, c.head_size() as i64]);
        let rows = self.op("Reshape", &[rows, &shape]);
        // Nothing up to here depends on the batch, so ONNX Runtime computes it once, when it loads the file.
        let rows = self.transpose(&rows, &[1, 0, 2]); // [h, 2·span, D]
        let spread = self.op_with("Gather", &[&rows, index], &[("axis", Attribute::Int(1))]);
        let spread = self.transpose(&spread, &[0, 2, 1]); // [h, D, 2T]
        self.op("MatMul", &[x, &spread])
    }

    /// Turns diagonals into columns as `ml::model::deberta::skew` does: `[B, h, T, 2T]` → `[B, h, T, T]`. It needs only
    /// slices and reshapes; `GatherElements` would need an index for each score.
    fn skewed(&mut self, x: &Value, skew: &Skew) -> Value {
        let flat = self.axes(&[0, 0, -1]);
        let x = self.op("Reshape", &[x, &flat]);
        let x = self.slice(&x, &Range { axis: 2, start: &skew.start, end: &skew.end });
        let x = self.op("Reshape", &[&x, &skew.shape]);
        let zero = self.axes(&[0]);
        self.slice(&x, &Range { axis: 3, start: &zero, end: &skew.length })
    }

    fn slice(&mut self, x: &Value, range: &Range) -> Value {
        let axis = self.axes(&[range.axis]);
        self.op("Slice", &[x, range.start, range.end, &axis])
    }

    /// The convolution after the first layer: the embeddings and the layer's output, both `[B, T, H]`, and the mask of real
    /// tokens `[B, T, 1]` → `[B, T, H]`.
    fn conv(&mut self, own: &DebertaConfig, conv: &ConvConfig, [embedded, x, real]: [&Value; 3]) -> Value {
        let at = "deberta.encoder.conv";
        let sum = self.within(at, |g| {
            let (kernel, bias) = (g.vector(&format!("{at}.conv.weight")), g.vector(&format!("{at}.conv.bias")));
            let size = conv.conv_kernel_size as i64;
            let attributes = [
                ("group", Attribute::Int(conv.conv_groups as i64)),
                ("kernel_shape", Attribute::Ints(&[size])),
                ("pads", Attribute::Ints(&[(size - 1) / 2, (size - 1) / 2])),
            ];
            let channels = g.transpose(embedded, &[0, 2, 1]); // [B, H, T]
            let out = g.op_with("Conv", &[&channels, &kernel, &bias], &attributes);
            let out = g.transpose(&out, &[0, 2, 1]);
            let out = g.op("Mul", &[&out, real]);
            let out = g.activation(conv.conv_act, &out);
            g.op("Add", &[x, &out])
        });
        let normalized = self.layer_norm(&format!("{at}.LayerNorm"), own.encoder.layer_norm_eps, &sum);
        self.within(at, |g| g.op("Mul", &[&normalized, real]))
    }
}
