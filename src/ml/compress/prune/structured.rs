//! Makes a model smaller: drops layers, and the least important neurons of the feed-forward halves.

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::half::{Half, half};
use super::importance;
use super::importance::LabelledRows;
use crate::compress::student;
use crate::model::part::{Part, place};
use crate::model::{HostTensor, Model};
use crate::watch::Watch;

/// What to remove.
#[derive(Debug, Clone, Copy)]
pub struct Removal<'a> {
    /// The encoder layers to keep, by their positions counted from 0; `None` keeps all.
    pub layers: Option<&'a [usize]>,
    pub neurons: Option<Neurons<'a>>,
}

/// Which neurons of the feed-forward halves to remove: the same number in every layer, because the configs of all
/// families have a single width for them.
#[derive(Debug, Clone, Copy)]
pub struct Neurons<'a> {
    /// Share of each layer's neurons, 0 ≤ share < 1.
    pub share: f64,
    pub rows: LabelledRows<'a>,
}

/// What was removed, and its importance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Removed {
    /// Positions of the kept layers in the original model.
    pub layers: Vec<usize>,
    pub layers_before: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neurons: Option<RemovedNeurons>,
    pub parameters_before: usize,
    pub parameters_after: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemovedNeurons {
    /// Neurons of each layer: `intermediate_size` of the config.
    pub width_before: usize,
    pub width_after: usize,
    /// Number of rows that importance was measured on.
    pub rows: usize,
    /// Layer by layer, for the kept layers.
    pub layers: Vec<RemovedLayer>,
}

impl RemovedNeurons {
    /// Importance of the removed neurons as a share of the importance of all.
    pub fn importance_removed(&self) -> f64 {
        let all: f64 = self.layers.iter().map(|layer| layer.importance).sum();
        let gone: f64 = self.layers.iter().map(|layer| layer.importance * layer.importance_removed).sum();
        if all > 0.0 { gone / all } else { 0.0 }
    }
}

/// The removed neurons of one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemovedLayer {
    pub removed: usize,
    /// Sum of all importances before the removal, as change of the loss.
    pub importance: f64,
    /// The removed neurons' share of it.
    pub importance_removed: f64,
    /// The largest importance among the removed neurons, and the smallest among the kept ones.
    pub largest_removed: f64,
    pub smallest_kept: f64,
}

/// Remove neurons and layers from the model; `device` is the model's device.
pub fn remove(model: Model, removal: &Removal, device: &Device, watch: &dyn Watch) -> Result<(Model, Removed)> {
    let (layers_before, parameters_before) = (model.config().layers(), model.count());
    let mut model = match removal.layers {
        Some(kept) => student::with_layers(&model, kept, device)?,
        None => model,
    };
    let layers = removal.layers.map_or_else(|| (0..layers_before).collect(), <[usize]>::to_vec);
    let mut neurons = None;
    if let Some(Neurons { share, rows }) = &removal.neurons {
        let importance = importance::of_neurons(&model, rows, device, watch)?;
        let width_before = model.config().intermediate_size();
        let width_after = width(width_before, *share)?;
        let kept: Vec<Vec<usize>> = importance.iter().map(|layer| most_important(layer, width_after)).collect();
        let layers = importance.iter().zip(&kept).map(|(importance, kept)| summary(importance, kept)).collect();
        model = keep_neurons(&model, &kept, device)?;
        neurons = Some(RemovedNeurons { width_before, width_after, rows: rows.len(), layers });
    }
    let parameters_after = model.count();
    Ok((model, Removed { layers, layers_before, neurons, parameters_before, parameters_after }))
}

/// How many of `all` neurons stay if `share` of them is removed, rounded to a multiple of 16, the numbers in a register
/// of AVX-512, so that every product fills its registers. Layers with fewer than 256 neurons, where that could be off
/// by more than 3 %, round to the nearest integer. At least one neuron stays.
pub fn width(all: usize, share: f64) -> Result<usize> {
    const STEP: usize = 16;
    ensure!(
        (0.0..1.0).contains(&share),
        "the share of neurons to remove is {share}; it must be at least 0 and below 1"
    );
    let step = if all >= STEP * STEP { STEP } else { 1 };
    let steps = ((1.0 - share) * all as f64 / step as f64).round() as usize;
    Ok((steps.max(1) * step).min(all))
}

/// The positions of the `count` most important neurons, in their order. Of equally important neurons, the first are
/// removed.
fn most_important(importance: &[f64], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..importance.len()).collect();
    places.sort_by(|&a, &b| importance[a].total_cmp(&importance[b])); // A stable sort.
    let mut kept = places.split_off(importance.len() - count);
    kept.sort_unstable();
    kept
}

fn summary(importance: &[f64], kept: &[usize]) -> RemovedLayer {
    let stays = |place: &usize| kept.binary_search(place).is_ok();
    let all: f64 = importance.iter().sum();
    let gone: Vec<f64> = (0..importance.len()).filter(|place| !stays(place)).map(|place| importance[place]).collect();
    RemovedLayer {
        removed: gone.len(),
        importance: all,
        importance_removed: if all > 0.0 { gone.iter().sum::<f64>() / all } else { 0.0 },
        largest_removed: gone.iter().copied().fold(0.0, f64::max),
        smallest_kept: kept.iter().map(|&place| importance[place]).fold(f64::INFINITY, f64::min),
    }
}

/// The model with only these neurons of each layer, and the width in its config.
pub fn keep_neurons(model: &Model, kept: &[Vec<usize>], device: &Device) -> Result<Model> {
    let layers = model.config().layers();
    ensure!(kept.len() == layers, "internal error: neurons of {} layers for a model of {layers}", kept.len());
    let width = kept.first().map_or(0, Vec::len);
    if kept.iter().any(|layer| layer.len() != width) || width == 0 {
        bail!("every layer must keep the same number of neurons, and at least one");
    }
    let config = model.config().with_intermediate_size(width).context("the smaller model's config")?;
    let narrowed = |(name, tensor): (String, HostTensor)| {
        let Part::Layer(layer) = place(&name).part else { return (name, tensor) };
        let tensor = match (half(&name), tensor.shape.len()) {
            (Some(Half::Wide), _) => tensor.rows(&kept[layer]),
            (Some(Half::Narrow), 2) => tensor.columns(&kept[layer]),
            _ => tensor,
        };
        (name, tensor)
    };
    let host = model.to_host()?.into_iter().map(narrowed).collect();
    Model::with_values(&config, host, device)
}

#[cfg(test)]
#[path = "structured_tests.rs"]
mod tests;
