//! Linear layers with integer weights, and linear layers that measure the error of rounding on their activations.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::linear::Linear;
use super::quantization::Activations;
use super::{Config, Model, Named};
use crate::compute::dropout::Pass;
use crate::compute::int4;
use crate::compute::int8::weight::MOST_INPUTS;
use crate::compute::int8::{Layer, Probe, Rounding, Weight};
use crate::compute::kernel;
use crate::files::host::Layout;
use crate::files::weights::stored::Stored;

/// What replaces a linear layer's plain float product.
#[derive(Debug, Clone)]
pub enum Substitute {
    /// A product with integer weights.
    Integers(Integers),
    /// The float product, which the probe compares with rounded ones.
    Measured(Arc<Probe>),
}

impl Substitute {
    /// `x` `[N, in]`, `bias` `[out]` → `[N, out]`; `float` is the product in floats.
    pub fn forward(&self, x: Tensor<2>, bias: Tensor<1>, float: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        match self {
            Substitute::Integers(Integers::Int8(layer)) if kernel::fuses(&x) => {
                kernel::integer_linear(x, vec![(layer.clone(), bias)])
            }
            Substitute::Integers(Integers::Int4(weight)) if kernel::fuses(&x) => {
                kernel::unpacked_linear(x, weight, bias)
            }
            Substitute::Integers(_) => float(x),
            Substitute::Measured(probe) => {
                let y = float(x.clone());
                probe.see(&values(x), &values(bias), &values(y.clone()));
                y
            }
        }
    }
}

/// Applies linear layers to the same `x` `[N, in]` → one result each, `[N, out]`. If all have 8-bit integers of the same shape and
/// rounding, it rounds `x` once and computes one product.
pub fn together<const N: usize>(linears: [&Linear; N], x: Tensor<2>, pass: &mut Pass) -> [Tensor<2>; N] {
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

/// The values in row-major order.
fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap_or_default()
}

impl Linear {
    /// Switches the layer to integers. The float weight takes no memory; it is computed from the integers if something reads it.
    fn set_integers(&mut self, integers: Integers) {
        let shape = integers.shape();
        let own = integers.clone();
        self.weight = Param::uninitialized(
            self.weight.id,
            move |device, require_grad| {
                Tensor::from_data(TensorData::new(own.to_floats(), shape), device).set_require_grad(require_grad)
            },
            self.weight.lazy_device(),
            false,
            shape.into(),
        );
        self.substitute = Some(Substitute::Integers(integers));
    }
}

/// The suffix of a weight's name after the name of its layer.
pub const WEIGHT: &str = ".weight";

/// The integer weight of a linear layer.
#[derive(Debug, Clone)]
pub enum Integers {
    /// 8-bit weights; activations are integers too.
    Int8(Arc<Layer>),
    /// 4-bit weights; activations are floats.
    Int4(Arc<int4::Weight>),
}

impl Integers {
    /// `[in, out]`
    fn shape(&self) -> [usize; 2] {
        match self {
            Integers::Int8(layer) => [layer.weight.inputs(), layer.weight.outputs()],
            Integers::Int4(weight) => [weight.inputs(), weight.outputs()],
        }
    }

    /// The dequantized weights `[in, out]`.
    fn to_floats(&self) -> Vec<f32> {
        match self {
            Integers::Int8(layer) => layer.weight.to_floats(),
            Integers::Int4(weight) => weight.to_floats(),
        }
    }

    /// How many of the weights are not zero.
    pub fn non_zero(&self) -> usize {
        match self {
            Integers::Int8(layer) => layer.weight.non_zero(),
            Integers::Int4(weight) => weight.non_zero(),
        }
    }
}

/// The linear layers that compute with integers, by name: layers with 4-bit weights, and layers with 8-bit weights if the config
/// says that activations are integers too.
pub(super) fn layers(
    parameters: &[Named],
    found: &BTreeMap<String, &Stored>,
    config: &Config,
) -> Result<BTreeMap<String, Integers>> {
    let Some(quantization) = config.quantization() else { return Ok(BTreeMap::new()) };
    let in_bytes = quantization.activations != Activations::Floats;
    let integers = |p: &Named| {
        let name = p.name.strip_suffix(WEIGHT).filter(|_| p.layout == Layout::Transposed)?;
        let stored = found.get(&p.name).filter(|stored| stored.is_scaled())?;
        let computes = stored.is_packed() || in_bytes && p.shape[1] <= MOST_INPUTS;
        computes.then(|| (name.to_owned(), p.shape[1], *stored))
    };
    let pack = |(name, inputs, stored): (String, usize, &Stored)| {
        let read = || -> Result<Integers> {
            if stored.is_packed() {
                let (nibbles, scales) = stored.read_packed()?;
                return Ok(Integers::Int4(int4::Weight::new(nibbles, scales, inputs).into()));
            }
            let (integers, scales) = stored.read_integers()?;
            let weight = Arc::new(Weight::pack(&integers, &scales, inputs));
            let rounding = match (quantization.activations, stored.read_range()?) {
                (Activations::Static, Some(range)) => Rounding::Fixed(range),
                _ if quantization.wide.contains(&name) => Rounding::Token16,
                _ => Rounding::Token8,
            };
            Ok(Integers::Int8(Layer { weight, rounding }.into()))
        };
        let layer = read().with_context(|| format!("reading {}: tensor {name}{WEIGHT}", stored.path().display()))?;
        Ok((name, layer))
    };
    let stored: Vec<_> = parameters.iter().filter_map(integers).collect();
    stored.into_par_iter().map(pack).collect()
}

impl Model {
    /// Makes the named linear layers compute with integers, for inference on the CPU.
    pub fn set_integers(&mut self, mut layers: BTreeMap<String, Integers>) {
        self.map_linears(&mut |name, linear| {
            if let Some(layer) = layers.remove(name) {
                linear.set_integers(layer);
            }
        });
    }

    /// Attaches probes to the named linear layers, which measure them at each forward pass.
    pub fn set_probes(&mut self, probes: &BTreeMap<String, Arc<Probe>>) {
        self.map_linears(&mut |name, linear| {
            linear.substitute = probes.get(name).cloned().map(Substitute::Measured);
        });
    }
}
