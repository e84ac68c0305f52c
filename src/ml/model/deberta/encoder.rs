//! DeBERTa's encoder: its layers, the table of relative positions that they share, and the convolution.

use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};

use super::attention::{DisentangledSelfAttention, Places};
use super::distance::{Distances, RelativeConfig};
use crate::compute::dropout::Pass;
use crate::model::conv::{Conv, ConvConfig};
use crate::model::embedding::Embedding;
use crate::model::encoder::{EncoderConfig, Layer, Layers, attention_bias};
use crate::model::linear::Linear;
use crate::model::norm::LayerNorm;

/// `DebertaV2Encoder`: the layers and the table of relative positions that they share.
#[derive(Module, Debug)]
pub(crate) struct Encoder {
    layer: Vec<Layer<DisentangledSelfAttention>>,
    /// `[2·span, H]`
    rel_embeddings: Option<Embedding>,
    /// Normalizes the table, not the outputs of layers.
    layer_norm: Option<LayerNorm>,
    conv: Option<Conv>,
    #[module(skip)]
    relative: RelativeConfig,
}

impl Encoder {
    /// Layers without values; the caller fills them in.
    pub(crate) fn empty(
        c: &EncoderConfig,
        relative: RelativeConfig,
        conv: Option<&ConvConfig>,
        device: &Device,
    ) -> Self {
        let layer = |_| Layer::empty(DisentangledSelfAttention::empty(c, relative, device), c, device);
        Encoder {
            layer: (0..c.num_hidden_layers).map(layer).collect(),
            rel_embeddings: relative.attention.then(|| Embedding::empty(2 * relative.span(), c.hidden_size, device)),
            layer_norm: relative.layer_norm.then(|| LayerNorm::empty(c.hidden_size, c.layer_norm_eps, device)),
            conv: conv.map(|conv| Conv::empty(conv, c, device)),
            relative,
        }
    }

    /// Applies the convolution to the input `x` and the output `out` of the first layer; returns `out` for other layers.
    fn beside(&self, i: usize, x: Tensor<2>, out: Tensor<2>, mask: &Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        match &self.conv {
            Some(conv) if i == 0 => conv.forward(x, out, mask, pass),
            _ => out,
        }
    }
}

impl Layers for Encoder {
    type Shared = Places;

    fn depth(&self) -> usize {
        self.layer.len()
    }

    fn rows(&self, length: usize) -> Option<Tensor<2>> {
        let rows = self.relative.reach(length, self.rel_embeddings.as_ref()?.weight.val());
        Some(self.layer_norm.iter().fold(rows, |rows, norm| norm.forward(rows)))
    }

    fn shared(&self, mask: &Tensor<2, Bool>, rows: Option<Tensor<2>>) -> Places {
        let [batch, length] = mask.dims();
        Places {
            bias: attention_bias(mask.clone()).reshape([1, batch, 1, length]),
            distances: rows.map(|rows| Distances::new(&self.relative, rows, length)),
            mask: mask.clone(),
        }
    }

    /// The layer, and after the first one the convolution.
    fn layer(&self, i: usize, x: Tensor<2>, places: &Places, pass: &mut Pass) -> Tensor<2> {
        let out = self.layer[i].forward(x.clone(), places, pass);
        self.beside(i, x, out, &places.mask, pass)
    }

    fn layer_with_scores(&self, i: usize, x: Tensor<2>, places: &Places, pass: &mut Pass) -> (Tensor<2>, Tensor<4>) {
        let (out, scores) = self.layer[i].forward_with_scores(x.clone(), places, pass);
        (self.beside(i, x, out, &places.mask, pass), scores)
    }

    fn map_linears(&mut self, at: &str, change: &mut dyn FnMut(&str, &mut Linear)) {
        for (i, layer) in self.layer.iter_mut().enumerate() {
            layer.map_linears(&format!("{at}.layer.{i}"), change);
        }
    }
}
