//! Finds the linear layers that compute with integers, reads their weights, and gives layers their substitutes.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use rayon::prelude::*;

use super::classifier::Model;
use super::config::Config;
use super::names::WEIGHT;
use super::quantization::Activations;
use super::substitute::{Integers, Substitute};
use super::walk::Named;
use crate::compute::int4;
use crate::compute::int8::weight::MOST_INPUTS;
use crate::compute::int8::{Layer, Probe, Rounding, Weight};
use crate::files::host::Layout;
use crate::files::weights::stored::Stored;

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
