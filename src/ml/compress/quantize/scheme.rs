//! Stores a model's weights in fewer bits, and measures the effect on its layers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::layers::{linears, may_round};
use super::matrix::Stored;
use super::sensitivity::{Calibration, Form, MeasuredLayer};
use super::{matrix, sensitivity};
use crate::files::host::{HostTensor, Layout};
use crate::files::weights;
use crate::files::weights::{Encoded, Pair};
use crate::model::config::Config;
use crate::model::names::WEIGHT;
use crate::model::quantization::{Activations, FIELD, Integers, Quantization};
use crate::model::{Initialised, Model, Named};
use crate::watch::Watch;

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Matrices as 8-bit integers with one f32 scale per output channel (per row of an embedding table), symmetric around
    /// zero. On the CPU, `evaluate` and `predict` compute in integers; activations are rounded over the range of each token.
    Int8,
    /// The same with one range for all activations of a layer, found by calibration: for engines that need static
    /// ranges.
    Int8Static,
    /// Weights of linear layers as 4-bit integers with one scale for each group of inputs (`group-size`), tables as
    /// 8-bit ones; activations stay floats. The smallest file, but not faster than floats.
    Int4,
    /// Everything as 16-bit floats, computed as f32. `transformers` reads it.
    Fp16,
    /// Everything as bfloat16, computed as f32. `transformers` reads it.
    Bf16,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Int8 => "int8",
            Scheme::Int8Static => "int8-static",
            Scheme::Int4 => "int4",
            Scheme::Fp16 => "fp16",
            Scheme::Bf16 => "bf16",
        })
    }
}

/// What to quantize to, and how.
pub struct Request {
    pub scheme: Scheme,
    /// Rows to measure the layers on. Without rows, random tokens are used.
    pub calibration: Option<Calibration>,
    /// Number of inputs that share a scale, for int4.
    pub group: usize,
}

/// Default number of inputs that share a scale: 4.5 bits per weight, and few enough inputs that a large weight coarsens
/// the rounding of only a few others.
pub const GROUP: usize = 32;

impl Request {
    pub fn new(scheme: Scheme) -> Self {
        Request { scheme, calibration: None, group: GROUP }
    }
}

/// The result of quantizing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizeReport {
    pub scheme: Scheme,
    pub tensors: Vec<QuantizedTensor>,
    /// The effect of rounding on the results of each linear layer, the largest first. Empty if no layer computes in
    /// integers.
    pub layers: Vec<MeasuredLayer>,
    /// Size of the weight files.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// A tensor stored in fewer bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizedTensor {
    pub name: String,
    /// ‖stored − original‖ / ‖original‖.
    pub relative_error: f64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

impl QuantizeReport {
    /// Linear layers in this form, the most sensitive first.
    pub fn layers_as(&self, form: Form) -> Vec<String> {
        self.layers.iter().filter(|layer| layer.form == form).map(|layer| layer.name.clone()).collect()
    }
}

/// Read the model folder `from` and write `config.json` and `model.safetensors` to `to`.
///
/// Int8: `x ≈ q · s` with `s = max|w| / 127` over the row and `q = round(w / s)`, in the layout of
/// `compressed-tensors`. A layer that integers would change too much keeps f16 weights, as does the head.
///
/// Int4: `x ≈ q · s` over each group of inputs, with `s` chosen for the smallest squared difference; otherwise as int8.
pub fn quantize(from: &Path, to: &Path, request: &Request, watch: &dyn Watch) -> Result<QuantizeReport> {
    let (config, files) = (Config::open(from)?, weights::files(from)?);
    if config.quantization().is_some() {
        bail!("the model in {} is already quantized; quantize the model it was made from", from.display());
    }
    let plan = StoragePlan::new(whole(from)?, request, watch)?;
    let stored = plan.store().with_context(|| format!("quantizing the model in {}", from.display()))?;
    let encoded: BTreeMap<String, Encoded> =
        stored.iter().flat_map(|(name, stored)| stored.named(name)).map(|(name, e)| (name, e.clone())).collect();
    let text = serde_json::to_string_pretty(&plan.config(config.to_json())).context("encoding config.json")?;
    let pair = Pair { config: to.join("config.json"), weights: to.join(weights::SINGLE) };
    pair.write(&text, |file| weights::write::encode(file, &encoded))?;
    let size = |path: &Path| -> Result<u64> {
        Ok(fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len())
    };
    let tensors = stored.iter().filter_map(|(name, stored)| {
        Some(QuantizedTensor {
            name: name.clone(),
            relative_error: stored.relative_error?,
            bytes_before: stored.size as u64 * 4,
            bytes_after: stored.named(name).iter().map(|(_, encoded)| encoded.bytes.len() as u64).sum(),
        })
    });
    Ok(QuantizeReport {
        scheme: plan.scheme,
        tensors: tensors.collect(),
        layers: plan.layers,
        bytes_before: files.iter().map(|file| size(file)).sum::<Result<u64>>()?,
        bytes_after: size(&pair.weights)?,
    })
}

/// Load the model of a folder; every tensor must be there.
fn whole(from: &Path) -> Result<Model> {
    let loaded = Model::load(from, None, 0, &Device::flex())?;
    match loaded.initialised {
        Initialised::Nothing => Ok(loaded.model),
        Initialised::Everything => bail!("model folder {} has no weights to quantize", from.display()),
        Initialised::Part(names) => {
            bail!("the model in {} lacks {}; train it before quantizing it", from.display(), names.join(", "))
        }
    }
}

/// The form in which each tensor is stored.
struct StoragePlan {
    scheme: Scheme,
    group: usize,
    model: Model,
    layers: Vec<MeasuredLayer>,
}

impl StoragePlan {
    fn new(model: Model, request: &Request, watch: &dyn Watch) -> Result<Self> {
        let (scheme, group) = (request.scheme, request.group);
        let random = Calibration::random(model.config());
        let calibration = request.calibration.as_ref().unwrap_or(&random);
        let activations = match scheme {
            Scheme::Int8 => Activations::Dynamic,
            Scheme::Int8Static => {
                let wanted =
                    "int8-static needs rows to calibrate the ranges of activations; set `in.tokens` of the stage";
                ensure!(request.calibration.is_some(), wanted);
                Activations::Static
            }
            Scheme::Int4 => {
                check_groups(&model, group)?;
                let (model, layers) = sensitivity::measure_int4(model, group, calibration, watch)?;
                return Ok(StoragePlan { scheme, group, model, layers });
            }
            Scheme::Fp16 | Scheme::Bf16 => return Ok(StoragePlan { scheme, group, model, layers: Vec::new() }),
        };
        let (model, layers) = sensitivity::measure(model, activations, calibration, watch)?;
        Ok(StoragePlan { scheme, group, model, layers })
    }

    /// Every tensor in its new form.
    fn store(&self) -> Result<Vec<(String, Stored)>> {
        let layouts: BTreeMap<String, Layout> =
            self.model.parameters().into_iter().map(|p| (p.name, p.layout)).collect();
        let layers: BTreeMap<&str, &MeasuredLayer> = self.layers.iter().map(|l| (l.name.as_str(), l)).collect();
        let store = |(name, tensor): (String, HostTensor)| -> Result<(String, Stored)> {
            if let Some(bad) = tensor.data.iter().find(|v| !v.is_finite()) {
                bail!("tensor {name} contains {bad}; only finite weights can be quantized");
            }
            let is_matrix = tensor.shape.len() == 2 && name.ends_with(WEIGHT);
            let layer = name.strip_suffix(WEIGHT).and_then(|layer| layers.get(layer));
            let stored = match (self.scheme, layer, layouts.get(&name)) {
                (Scheme::Fp16, ..) => matrix::fp16(&name, &tensor)?,
                (Scheme::Bf16, ..) => matrix::bf16(&tensor),
                (_, Some(layer), _) if layer.form == Form::Int4 => matrix::int4(&tensor, self.group),
                (_, Some(layer), _) if layer.form != Form::Float16 => matrix::int8(&tensor, layer.range),
                (_, None, Some(Layout::AsInFiles)) if is_matrix => matrix::int8(&tensor, None),
                _ if is_matrix => matrix::fp16(&name, &tensor).unwrap_or_else(|_| matrix::f32(&tensor)),
                _ => matrix::f32(&tensor),
            };
            Ok((name, stored))
        };
        self.model.to_host()?.into_par_iter().map(store).collect()
    }

    /// The config of the new folder, derived from the old one.
    fn config(&self, mut json: Value) -> Value {
        let activations = match self.scheme {
            Scheme::Int8 => Activations::Dynamic,
            Scheme::Int8Static => Activations::Static,
            Scheme::Int4 => Activations::Floats,
            Scheme::Fp16 | Scheme::Bf16 => {
                let name = if self.scheme == Scheme::Fp16 { "float16" } else { "bfloat16" };
                for field in ["torch_dtype", "dtype"] {
                    if json.get(field).is_some() {
                        json[field] = name.into();
                    }
                }
                return json;
            }
        };
        let wide = self.layers.iter().filter(|l| l.form == Form::Int8Wide).map(|l| l.name.clone()).collect();
        let rounded: BTreeSet<&str> =
            self.layers.iter().filter(|l| l.form != Form::Float16).map(|l| l.name.as_str()).collect();
        let ignored = linears(&self.model).into_iter().filter(|name| !rounded.contains(name.as_str())).collect();
        let integers = match self.scheme {
            Scheme::Int4 => Integers::Nibbles { group: self.group },
            _ => Integers::Bytes,
        };
        json[FIELD] = Quantization { integers, activations, wide, ignored }.to_json();
        json
    }
}

/// Check that groups divide the inputs evenly, because the layout cannot store an incomplete group.
fn check_groups(model: &Model, group: usize) -> Result<()> {
    ensure!(group > 0 && group.is_multiple_of(8), "group-size is {group}; it must be a multiple of 8");
    let rounded = |p: &Named| p.layout == Layout::Transposed && p.name.strip_suffix(WEIGHT).is_some_and(may_round);
    let matrices: Vec<Named> = model.parameters().into_iter().filter(rounded).collect();
    let Some(Named { name, shape, .. }) = matrices.iter().find(|p| !p.shape[1].is_multiple_of(group)) else {
        return Ok(());
    };
    let inputs = shape[1];
    let all = |size: &usize| matrices.iter().all(|p| p.shape[1].is_multiple_of(*size));
    match (1..group / 8).rev().map(|eights| 8 * eights).find(all) {
        Some(fits) => {
            bail!(
                "{name} has {inputs} inputs, not a multiple of group-size {group}; group-size = {fits} fits all layers"
            )
        }
        None => {
            bail!("{name} has {inputs} inputs, not a multiple of group-size {group}; no multiple of 8 fits all layers")
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
