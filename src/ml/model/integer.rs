//! Linear layers that compute in integers, and those whose activations are looked at to find out how.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::host::Layout;
use super::linear::Linear;
use super::quantization::Activations;
use super::weights::stored::Stored;
use super::{Config, Model, Named};
use crate::ml::int8::weight::MOST_INPUTS;
use crate::ml::int8::{Layer, Probe, Rounding, Weight};
use crate::ml::kernel;

/// What takes the place of a linear layer's product in floats.
#[derive(Debug, Clone)]
pub enum Int8 {
    /// The product in integers.
    Computed(Arc<Layer>),
    /// The product in floats, which the probe compares with the one in integers.
    Measured(Arc<Probe>),
}

impl Int8 {
    /// `x` `[N, in]`, `bias` `[out]` → `[N, out]`; `float` is the product in floats.
    pub fn forward(&self, x: Tensor<2>, bias: Tensor<1>, float: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        match self {
            Int8::Computed(layer) if kernel::fuses(&x) => kernel::integer_linear(x, layer, bias),
            Int8::Computed(_) => float(x),
            Int8::Measured(probe) => {
                let y = float(x.clone());
                probe.see(&values(x), &values(bias), &values(y.clone()));
                y
            }
        }
    }
}

/// In the order of rows.
fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap_or_default()
}

impl Linear {
    /// Computes in integers from now on. The weight takes no memory until somebody asks for it: then it is made of them.
    fn set_integers(&mut self, layer: Arc<Layer>) {
        let shape = [layer.weight.inputs(), layer.weight.outputs()];
        let own = layer.clone();
        self.weight = Param::uninitialized(
            self.weight.id,
            move |device, require_grad| {
                Tensor::from_data(TensorData::new(own.weight.to_floats(), shape), device).set_require_grad(require_grad)
            },
            self.weight.lazy_device(),
            false,
            shape.into(),
        );
        self.int8 = Some(Int8::Computed(layer));
    }
}

/// The end of a weight's name, after that of its layer.
pub const WEIGHT: &str = ".weight";

/// The linear layers that the files hold in integers and that the config has compute in integers, by name.
pub(super) fn layers(
    parameters: &[Named],
    found: &BTreeMap<String, &Stored>,
    config: &Config,
) -> Result<BTreeMap<String, Layer>> {
    let Some(quantization) = config.quantization().filter(|q| q.activations != Activations::Floats) else {
        return Ok(BTreeMap::new());
    };
    let integers = |p: &Named| {
        let name = p.name.strip_suffix(WEIGHT).filter(|_| p.layout == Layout::Transposed)?;
        let stored = found.get(&p.name).filter(|stored| stored.is_scaled() && p.shape[1] <= MOST_INPUTS)?;
        Some((name.to_owned(), p.shape[1], *stored))
    };
    let pack = |(name, inputs, stored): (String, usize, &Stored)| {
        let read = || -> Result<Layer> {
            let (integers, scales) = stored.read_integers()?;
            let weight = Arc::new(Weight::pack(&integers, &scales, inputs));
            let rounding = match (quantization.activations, stored.read_range()?) {
                (Activations::Static, Some(range)) => Rounding::Fixed(range),
                _ if quantization.wide.contains(&name) => Rounding::Token16,
                _ => Rounding::Token8,
            };
            Ok(Layer { weight, rounding })
        };
        let layer = read().with_context(|| format!("reading {}: tensor {name}{WEIGHT}", stored.path().display()))?;
        Ok((name, layer))
    };
    let stored: Vec<_> = parameters.iter().filter_map(integers).collect();
    stored.into_par_iter().map(pack).collect()
}

impl Model {
    /// Has the named linear layers compute in integers; for inference on the CPU.
    pub fn set_integers(&mut self, mut layers: BTreeMap<String, Layer>) {
        self.map_linears(&mut |name, linear| {
            if let Some(layer) = layers.remove(name) {
                linear.set_integers(Arc::new(layer));
            }
        });
    }

    /// Has the named linear layers measured at each forward pass.
    pub fn set_probes(&mut self, probes: &BTreeMap<String, Arc<Probe>>) {
        self.map_linears(&mut |name, linear| {
            linear.int8 = probes.get(name).cloned().map(Int8::Measured);
        });
    }
}
