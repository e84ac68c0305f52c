//! The affine layer `x·W + b`, with an optional low-rank adapter.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

use super::substitute::{Integers, Substitute};
use crate::compute::dropout::Pass;
use crate::compute::kernel;
use crate::compute::precision::Precision;

/// `y = x·W + b`, and with an adapter `y = x·W + b + s · dropout(x)·A·B`.
///
/// The field `matrix` is `weight` in Hugging Face files, there `[out, in]`: [`walk`](super::walk) knows it by its name.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[in, out]`
    pub matrix: Param<Tensor<2>>,
    pub bias: Param<Tensor<1>>,
    pub lora: Option<Lora>,
    /// Replaces the float product `x·W + b`.
    #[module(skip)]
    pub substitute: Option<Substitute>,
}

/// A low-rank adapter (Hu et al. 2021), computed as in PEFT.
///
/// Training computes neither the product `A·B` nor a gradient of the size of `W`.
#[derive(Module, Debug)]
pub struct Lora {
    /// `[in, r]`
    pub a: Param<Tensor<2>>,
    /// `[r, out]`
    pub b: Param<Tensor<2>>,
    /// `alpha / r`, or `alpha / √r` with rank stabilisation.
    pub scale: f64,
    pub dropout: f64,
}

impl Linear {
    /// A layer without values; they are zeros unless the caller fills them in.
    pub fn empty(inputs: usize, outputs: usize, device: &Device) -> Self {
        Linear {
            matrix: empty([inputs, outputs], device),
            bias: empty([outputs], device),
            lora: None,
            substitute: None,
        }
    }

    /// `x` `[.., in]` → `[.., out]`. It flattens leading axes for the product, because a batched
    /// product would compute one weight gradient per batch row and then sum them.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, pass: &mut Pass) -> Tensor<D> {
        let dims = x.dims();
        let shape = self.matrix.lazy_shape();
        let (inputs, outputs) = (shape[0], shape[1]);
        let rows = dims[..D - 1].iter().product();
        let mut shape = dims;
        shape[D - 1] = outputs;
        self.forward_rows(x.reshape([rows, inputs]), pass).reshape(shape)
    }

    /// `x` `[N, in]` → `[N, out]`.
    fn forward_rows(&self, x: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        let precision = pass.precision();
        let Some(lora) = &self.lora else { return self.affine(x, precision) };
        if self.substitute.is_none() && precision.is_f32() && kernel::fuses(&x) {
            let (frozen, adapter) = ((self.matrix.val(), self.bias.val()), (lora.a.val(), lora.b.val()));
            return kernel::adapted(x, frozen, adapter, lora.scale, pass.mask(lora.dropout));
        }
        let base = self.affine(x.clone(), precision);
        let low = precision.matmul(pass.dropout(x, lora.dropout), lora.a.val()); // [N, r]
        base + precision.matmul(low * lora.scale, lora.b.val())
    }

    /// `x·W + b`.
    fn affine(&self, x: Tensor<2>, precision: Precision) -> Tensor<2> {
        match &self.substitute {
            Some(other) => other.forward(x, self.bias.val(), |x| self.affine_in_floats(x, precision)),
            None => self.affine_in_floats(x, precision),
        }
    }

    fn affine_in_floats(&self, x: Tensor<2>, precision: Precision) -> Tensor<2> {
        let (weight, bias) = (self.matrix.val(), self.bias.val());
        if precision.is_f32() && kernel::fuses(&x) && kernel::fuses(&weight) {
            return kernel::linear(x, weight, bias);
        }
        precision.matmul(x, weight) + bias.unsqueeze()
    }

    /// Removes the adapter and adds it to the weight `times` times: 1 merges it, -1 subtracts it
    /// again.
    pub fn merge(mut self, times: f64) -> Self {
        let Some(lora) = self.lora.take() else { return self };
        let delta = lora.a.val().matmul(lora.b.val()) * (lora.scale * times);
        self.matrix = self.matrix.map(|weight| (weight + delta).detach());
        self
    }

    /// Switches the layer to integers. The float weight takes no memory; it is computed from the integers if something reads it.
    pub(super) fn set_integers(&mut self, integers: Integers) {
        let shape = integers.shape();
        let own = integers.clone();
        self.matrix = Param::uninitialized(
            self.matrix.id,
            move |device, require_grad| {
                Tensor::from_data(TensorData::new(own.to_floats(), shape), device).set_require_grad(require_grad)
            },
            self.matrix.lazy_device(),
            false,
            shape.into(),
        );
        self.substitute = Some(Substitute::Integers(integers));
    }
}

/// Applies linear layers to the same `x` `[N, in]` → one result each, `[N, out]`. If all have 8-bit integers of the same shape and
/// rounding, it rounds `x` once and computes one product.
pub(crate) fn together<const N: usize>(linears: [&Linear; N], x: Tensor<2>, pass: &mut Pass) -> [Tensor<2>; N] {
    let layers = linears.map(|linear| match (&linear.substitute, &linear.lora) {
        (Some(Substitute::Integers(Integers::Int8(layer))), None) => Some((layer.clone(), linear.bias.val())),
        _ => None,
    });
    let layers: Option<Vec<_>> = layers.into_iter().collect();
    match layers.filter(|layers| kernel::fuses(&x) && layers.iter().all(|(layer, _)| layer.is_like(&layers[0].0))) {
        Some(layers) => {
            let [rows, _] = x.dims();
            let all = kernel::integer_linear(x, layers);
            std::array::from_fn(|i| all.clone().narrow(0, i * rows, rows))
        }
        None => linears.map(|linear| linear.forward(x.clone(), pass)),
    }
}

/// A parameter that allocates no memory until it is read or filled in.
pub(crate) fn empty<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::uninitialized(
        ParamId::new(),
        move |device, require_grad| Tensor::zeros(shape, device).set_require_grad(require_grad),
        device.clone(),
        true,
        shape.into(),
    )
}
