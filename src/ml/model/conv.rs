//! The convolution after the first layer of DeBERTa-v2.

use anyhow::{Result, ensure};
use burn::module::{Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Bool, Device, Tensor, module::conv1d};

use super::activation::Activation;
use super::encoder::EncoderConfig;
use super::fields::Fields;
use super::linear::empty;
use super::norm::LayerNorm;
use crate::compute::dropout::Pass;

/// The fields of `config.json` that define the convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvConfig {
    pub conv_kernel_size: usize,
    pub conv_groups: usize,
    pub conv_act: Activation,
}

impl ConvConfig {
    /// Reads the fields; `None` if `conv_kernel_size` is 0 or missing.
    pub fn read(fields: &Fields, encoder: &EncoderConfig) -> Result<Option<Self>> {
        let size = fields.index("conv_kernel_size", 0)?;
        let groups = fields.size("conv_groups", 1)?;
        let activation = Activation::read(fields, "conv_act", "tanh")?;
        if size == 0 {
            return Ok(None);
        }
        ensure!(size % 2 == 1, "field `conv_kernel_size` is {size}; an even kernel would shorten the sequence");
        ensure!(
            encoder.hidden_size.is_multiple_of(groups),
            "field `conv_groups` is {groups}; it must divide `hidden_size` = {}",
            encoder.hidden_size
        );
        Ok(Some(ConvConfig { conv_kernel_size: size, conv_groups: groups, conv_act: activation }))
    }
}

/// `ConvLayer` of transformers `modeling_deberta_v2.py`.
#[derive(Module, Debug)]
pub(crate) struct Conv {
    pub conv: Kernel,
    pub layer_norm: LayerNorm,
    pub dropout: f64,
    pub groups: usize,
    #[module(skip)]
    pub activation: Activation,
}

/// `Conv1d` of torch.
#[derive(Module, Debug)]
pub(crate) struct Kernel {
    /// `[H, H / groups, K]`
    pub weight: Param<Tensor<3>>,
    pub bias: Param<Tensor<1>>,
}

impl Conv {
    /// A layer without values; the caller fills them in.
    pub(crate) fn empty(own: &ConvConfig, c: &EncoderConfig, device: &Device) -> Self {
        let hidden = c.hidden_size;
        Conv {
            conv: Kernel {
                weight: empty([hidden, hidden / own.conv_groups, own.conv_kernel_size], device),
                bias: empty([hidden], device),
            },
            layer_norm: LayerNorm::empty(hidden, c.layer_norm_eps, device),
            dropout: c.hidden_dropout_prob,
            groups: own.conv_groups,
            activation: own.conv_act,
        }
    }

    /// `embedded` `[B·T, H]` (the embeddings), `x` `[B·T, H]` (the first layer's output), `mask` `[B, T]` → `[B·T, H]`.
    pub(crate) fn forward(
        &self,
        embedded: Tensor<2>,
        x: Tensor<2>,
        mask: &Tensor<2, Bool>,
        pass: &mut Pass,
    ) -> Tensor<2> {
        let [batch, length] = mask.dims();
        let [rows, hidden] = x.dims();
        let [_, _, kernel] = self.conv.weight.dims();
        let options = ConvOptions::new([1], [(kernel - 1) / 2], [1], self.groups);
        let channels = embedded.reshape([batch, length, hidden]).swap_dims(1, 2); // [B, H, T]
        let out = conv1d(channels, self.conv.weight.val(), Some(self.conv.bias.val()), options);
        let out = out.swap_dims(1, 2).reshape([rows, hidden]);
        let real = mask.clone().float().reshape([rows, 1]);
        let out = self.activation.forward(pass.dropout(out * real.clone(), self.dropout));
        self.layer_norm.forward(x + out) * real
    }
}
