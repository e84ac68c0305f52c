//! Measures on real activations what integers do to the linear layers, and chooses a form for each layer.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::layers::{linears, may_round};
use super::matrix::{grouped, rounded};
use crate::compute::dropout::Pass;
use crate::compute::int4;
use crate::compute::int8::weight::MOST_INPUTS;
use crate::compute::int8::{Layer, OneRange, Probe, Range, Rounded, Rounding, Weight};
use crate::judge::metrics::Scoring;
use crate::model::Model;
use crate::model::names::WEIGHT;
use crate::model::quantization::Activations;
use crate::text::data::{Split, TokenRow};
use crate::watch::Watch;

/// Rows whose activations are measured.
pub struct Calibration {
    rows: Split,
    pad_id: u32,
}

/// The form that a linear layer is stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Weights and activations in 8 bits.
    Int8,
    /// Weights in 8 bits, activations in 16.
    Int8Wide,
    /// Weights in 4 bits, activations in floats.
    Int4,
    /// Weights in f16, computed in f32.
    Float16,
}

/// A linear layer and the effect of integers on its results for the calibration rows: ‖rounded − exact‖ / ‖exact‖.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredLayer {
    pub name: String,
    pub form: Form,
    /// With the scheme's activations: 8 bits, or floats.
    pub error: f64,
    /// With activations in 16 bits or floats, so that only the rounding of the weights counts.
    pub error_of_weights: f64,
    /// Range of the inputs, if it is fixed.
    #[serde(skip)]
    pub range: Option<Range>,
}

/// Up to this error, 8 bits suffice. Layers without outliers stay below 1 %, and more bits take twice the time.
const SMALL: f64 = 0.015;
/// The same limit for a fixed range, which is wider than any row needs and whose only alternative is floats.
const SMALL_FIXED: f64 = 0.04;
/// Above this error of the weights alone, bytes are unsuitable. The error stays below 1 % if inputs have no outliers,
/// and a classifier whose layers had up to 8 % lost two points (docs/quantize.md).
const LARGE: f64 = 0.02;
/// The same limit for 4-bit weights, which stay below 12 % even in groups of 128.
const LARGE_INT4: f64 = 0.15;

impl Calibration {
    /// `count` rows of a split, evenly spaced.
    pub fn of(split: &Split, count: usize, pad_id: u32) -> Self {
        let mut rows = Split::default();
        let count = count.min(split.len());
        for row in (0..count).map(|i| i * split.len() / count) {
            let (ids, types) = (split.row(row), split.types(row));
            rows.push_row(TokenRow { ids, types, label: 0, row_id: String::new() });
        }
        Calibration { rows, pad_id }
    }

    /// Rows of random tokens, for a model without texts: outliers come from the weights, whatever the input.
    pub fn random(model: &crate::model::Config) -> Self {
        const ROWS: usize = 32;
        let (length, ids) = (model.max_length().min(64), model.vocab_size() as u64);
        let mut state = 1u64;
        let mut rows = Split::default();
        for _ in 0..ROWS {
            let draw = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) % ids) as u32
            };
            rows.push(&(0..length).map(draw).collect::<Vec<u32>>(), 0, String::new());
        }
        Calibration { rows, pad_id: model.pad_id() }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Run the rows through a model, so that its probes see them.
    fn run(&self, model: &Model, watch: &dyn Watch) -> Result<()> {
        let device = Device::flex();
        let scoring = Scoring { split: &self.rows, pad_id: self.pad_id, batch_size: 16, device: &device };
        let forward = |ids, mask| {
            let logits = model.forward(ids, mask, &mut Pass::Off);
            Ok(logits.into_data().convert::<f32>().try_into_vec().unwrap_or_default())
        };
        scoring.logits(&forward, watch).map(drop)
    }
}

/// Measure every linear layer that may have 4-bit weights, in groups of `group` inputs. The most sensitive layer comes
/// first.
pub(super) fn measure_int4(
    mut model: Model,
    group: usize,
    calibration: &Calibration,
    watch: &dyn Watch,
) -> Result<(Model, Vec<MeasuredLayer>)> {
    let host = model.to_host()?;
    let probe = |name: String| {
        let tensor = host.get(&format!("{name}{WEIGHT}"))?;
        let (integers, scales) = grouped(tensor, group);
        let weight = Arc::new(int4::Weight::new(int4::Weight::pack(&integers), scales, tensor.shape[1]));
        Some((name, Arc::new(Probe::new(vec![Box::new(weight)]))))
    };
    let probes = linears(&model).into_iter().filter(|name| may_round(name)).filter_map(probe).collect();
    drop(host);
    model.set_probes(&probes);
    calibration.run(&model, watch)?;
    model.set_probes(&BTreeMap::new());
    let layer = |(name, probe): (String, Arc<Probe>)| {
        let error = probe.seen().errors()[0];
        let form = if error <= LARGE_INT4 { Form::Int4 } else { Form::Float16 };
        MeasuredLayer { name, form, error, error_of_weights: error, range: None }
    };
    let mut layers: Vec<MeasuredLayer> = probes.into_iter().map(layer).collect();
    layers.sort_by(|a, b| b.error.total_cmp(&a.error));
    Ok((model, layers))
}

/// The integer form of every linear layer that may compute in integers.
fn integer_weights(model: &Model) -> Result<BTreeMap<String, Arc<Weight>>> {
    let host = model.to_host()?;
    let weight = |name: String| {
        let tensor = host.get(&format!("{name}{WEIGHT}")).filter(|tensor| tensor.shape[1] <= MOST_INPUTS)?;
        let (integers, scales) = rounded(tensor);
        Some((name, Arc::new(Weight::pack(&integers, &scales, tensor.shape[1]))))
    };
    Ok(linears(model).into_iter().filter(|name| may_round(name)).filter_map(weight).collect())
}

/// Choose the form of every linear layer for an engine that rounds the activations of a whole batch over one range. Its
/// only alternative is to keep them as floats ([`Form::Int8Wide`]). The most sensitive layer comes first.
pub fn measure_batches(mut model: Model, calibration: &Calibration, watch: &dyn Watch) -> Result<Vec<MeasuredLayer>> {
    let probe = |(name, weight): (String, Arc<Weight>)| {
        let layer = |rounding| Box::new(Layer { weight: weight.clone(), rounding }) as Box<dyn Rounded>;
        let tried = vec![
            Box::new(OneRange(weight.clone())) as Box<dyn Rounded>,
            layer(Rounding::Token8),
            layer(Rounding::Token16),
        ];
        (name, Arc::new(Probe::new(tried)))
    };
    let probes: BTreeMap<String, Arc<Probe>> = integer_weights(&model)?.into_iter().map(probe).collect();
    model.set_probes(&probes);
    calibration.run(&model, watch)?;
    let judge = |(name, probe): (String, Arc<Probe>)| {
        let errors = probe.seen().errors();
        let (error, by_token, error_of_weights) = (errors[0], errors[1], errors[2]);
        // What `int8` gives more bits, and what one range for all rows rounds too coarsely.
        let form = match (error <= SMALL_FIXED && by_token <= SMALL, error_of_weights <= LARGE) {
            (true, true) => Form::Int8,
            (false, true) => Form::Int8Wide,
            _ => Form::Float16,
        };
        MeasuredLayer { name, form, error, error_of_weights, range: None }
    };
    let mut layers: Vec<MeasuredLayer> = probes.into_iter().map(judge).collect();
    layers.sort_by(|a, b| b.error.total_cmp(&a.error));
    Ok(layers)
}

/// Choose the form of every linear layer that may compute in integers. The most sensitive layer comes first.
pub(super) fn measure(
    mut model: Model,
    activations: Activations,
    calibration: &Calibration,
    watch: &dyn Watch,
) -> Result<(Model, Vec<MeasuredLayer>)> {
    let weights = integer_weights(&model)?;
    let mut look = |roundings: &dyn Fn(&str) -> Vec<Rounding>| -> Result<BTreeMap<String, Arc<Probe>>> {
        let probes = weights.iter().map(|(name, weight)| {
            let layer = |rounding| Box::new(Layer { weight: weight.clone(), rounding }) as Box<dyn Rounded>;
            (name.clone(), Arc::new(Probe::new(roundings(name).into_iter().map(layer).collect())))
        });
        let probes = probes.collect();
        model.set_probes(&probes);
        calibration.run(&model, watch)?;
        Ok(probes)
    };
    let dynamic = look(&|_| vec![Rounding::Token8, Rounding::Token16])?;
    let fixed = match activations {
        Activations::Static => {
            Some(look(&|name| dynamic.get(name).map(|p| Rounding::Fixed(p.seen().range)).into_iter().collect())?)
        }
        _ => None,
    };
    model.set_probes(&BTreeMap::new());
    let judge = |(name, probe): (String, Arc<Probe>)| {
        let seen = probe.seen();
        let fixed = fixed.as_ref().and_then(|probes| probes.get(&name)).map(|probe| probe.seen().errors()[0]);
        let errors = seen.errors();
        let (error, error_of_weights) = (fixed.unwrap_or(errors[0]), errors[1]);
        let form = match (
            error <= if fixed.is_some() { SMALL_FIXED } else { SMALL },
            error_of_weights <= LARGE,
            fixed.is_some(),
        ) {
            (true, true, _) => Form::Int8,
            (false, true, false) => Form::Int8Wide,
            _ => Form::Float16,
        };
        let range = fixed.is_some().then_some(seen.range);
        MeasuredLayer { name, form, error, error_of_weights, range }
    };
    let mut layers: Vec<MeasuredLayer> = dynamic.into_iter().map(judge).collect();
    layers.sort_by(|a, b| b.error.total_cmp(&a.error));
    Ok((model, layers))
}
