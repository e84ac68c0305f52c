//! Classification heads, which turn a row's vector into logits: each family's own head, or a deeper one.

use anyhow::{Result, bail};
use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::relu};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::Fields;
use super::linear::Linear;
use crate::compute::dropout::Pass;

/// Widths of the two hidden layers of [`Mlp`].
const WIDTHS: [usize; 2] = [256, 128];

/// The kind of a model's classification head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HeadKind {
    /// The family's own head, as in transformers.
    #[default]
    Standard,
    /// Three linear layers, hidden → 256 → 128 → labels. transformers has no such head: it loads the encoder and initialises
    /// a new classifier.
    Mlp,
}

impl HeadKind {
    /// The field of `config.json` that names the head. Only `pipe` uses it; it is absent for standard heads.
    pub const FIELD: &'static str = "classifier_head";

    pub fn read(fields: &Fields) -> Result<Self> {
        match fields.text(Self::FIELD, "standard")? {
            "standard" => Ok(HeadKind::Standard),
            "mlp" => Ok(HeadKind::Mlp),
            other => bail!("field `{}` is \"{other}\"; known heads: standard, mlp", Self::FIELD),
        }
    }
}

/// The kind and sizes of a head.
#[derive(Debug, Clone, Copy)]
pub struct HeadConfig {
    pub kind: HeadKind,
    pub hidden: usize,
    pub labels: usize,
}

/// The `classifier` of a model.
#[derive(Module, Debug)]
pub enum Head {
    Single(Linear),
    Dense(Dense),
    Mlp(Mlp),
}

impl Head {
    /// One layer: BERT and DeBERTa.
    pub fn single(c: HeadConfig, device: &Device) -> Self {
        match c.kind {
            HeadKind::Standard => Head::Single(Linear::empty(c.hidden, c.labels, device)),
            HeadKind::Mlp => Head::mlp(c, device),
        }
    }

    /// Two layers: RoBERTa.
    pub fn dense(c: HeadConfig, device: &Device) -> Self {
        match c.kind {
            HeadKind::Standard => Head::Dense(Dense {
                dense: Linear::empty(c.hidden, c.hidden, device),
                out_proj: Linear::empty(c.hidden, c.labels, device),
            }),
            HeadKind::Mlp => Head::mlp(c, device),
        }
    }

    fn mlp(c: HeadConfig, device: &Device) -> Self {
        let widths = [c.hidden, WIDTHS[0], WIDTHS[1], c.labels];
        let layers = widths.windows(2).map(|pair| Linear::empty(pair[0], pair[1], device)).collect();
        Head::Mlp(Mlp { layers })
    }

    /// `x` `[B, H]` → logits `[B, C]`; `dropout` acts before each layer.
    pub fn forward(&self, x: Tensor<2>, dropout: f64, pass: &mut Pass) -> Tensor<2> {
        match self {
            Head::Single(linear) => linear.forward(pass.dropout(x, dropout), pass),
            Head::Dense(head) => head.forward(x, dropout, pass),
            Head::Mlp(head) => head.forward(x, dropout, pass),
        }
    }

    /// Applies `change` to every linear layer with its name in the files.
    pub fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut Linear)) {
        match self {
            Head::Single(linear) => change("classifier", linear),
            Head::Dense(head) => {
                change("classifier.dense", &mut head.dense);
                change("classifier.out_proj", &mut head.out_proj);
            }
            Head::Mlp(head) => {
                for (i, layer) in head.layers.iter_mut().enumerate() {
                    change(&format!("classifier.layers.{i}"), layer);
                }
            }
        }
    }
}

/// `RobertaClassificationHead`.
#[derive(Module, Debug)]
pub struct Dense {
    pub dense: Linear,
    pub out_proj: Linear,
}

impl Dense {
    fn forward(&self, x: Tensor<2>, dropout: f64, pass: &mut Pass) -> Tensor<2> {
        let x = pass.dropout(x, dropout);
        let x = self.dense.forward(x, pass).tanh();
        self.out_proj.forward(pass.dropout(x, dropout), pass)
    }
}

/// Linear layers with ReLU between them.
#[derive(Module, Debug)]
pub struct Mlp {
    pub layers: Vec<Linear>,
}

impl Mlp {
    fn forward(&self, mut x: Tensor<2>, dropout: f64, pass: &mut Pass) -> Tensor<2> {
        for (i, layer) in self.layers.iter().enumerate() {
            let input = if i == 0 { x } else { relu(x) };
            x = layer.forward(pass.dropout(input, dropout), pass);
        }
        x
    }
}
