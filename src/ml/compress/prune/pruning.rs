//! Pruning: sets the smallest weights of a model's linear layers to zero, at once or during training, or makes the
//! model smaller.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{magnitude, targets};
use crate::files::host::{HostTensors, Layout};
use crate::model::{Model, walk};

use super::gradual::Gradual;
use super::magnitude::Scope;
use super::mask::{Mask, Masks};
use super::pattern::Pattern;
use super::targets::Target;

/// Which weights to remove, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pruning {
    pub method: Method,
    /// The layers to prune; if empty, all linear layers including the head's.
    pub targets: Vec<Target>,
    /// How the sparsity rises during training. `None` removes everything before the first step.
    pub gradual: Option<Gradual>,
}

/// How to choose the weights to remove: always those of smallest magnitude (L1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A share of all weights, wherever they are.
    Magnitude { sparsity: f64, scope: Scope },
    /// A fixed number of weights in each group of inputs.
    Pattern(Pattern),
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::Magnitude { sparsity, scope: Scope::Local } => {
                write!(f, "{:.1} % of each matrix", 100.0 * sparsity)
            }
            Method::Magnitude { sparsity, scope: Scope::Global } => write!(f, "{:.1} % of all", 100.0 * sparsity),
            Method::Pattern(pattern) => write!(f, "{pattern}"),
        }
    }
}

/// The result of pruning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PruneReport {
    pub pruning: Pruning,
    /// The training after or during the removal of weights.
    pub recovery: Option<Recovery>,
    pub layers: Vec<PrunedLayer>,
    /// Number of weights in these layers, and how many of them are zero now.
    pub weights: usize,
    pub zeroed: usize,
    /// `zeroed / weights`.
    pub achieved: f64,
}

/// One linear layer's weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrunedLayer {
    pub name: String,
    pub weights: usize,
    pub zeroed: usize,
}

/// How a pruned model was trained; `training.json` has the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    pub epochs: u32,
    /// Optimizer steps taken.
    pub steps: u64,
    /// Epochs done when the kept model was evaluated. `None` without validation rows.
    pub best_epoch: Option<f64>,
}

impl Pruning {
    /// Remove everything at once, in every linear layer.
    pub fn of(method: Method) -> Self {
        Self { method, targets: Vec::new(), gradual: None }
    }

    /// Check that this pruning is possible. `steps` is the number of optimizer steps of the fit that it accompanies.
    pub fn check(&self, steps: Option<u64>) -> Result<()> {
        if let Method::Magnitude { sparsity, .. } = self.method {
            ensure!(
                (0.0..1.0).contains(&sparsity),
                "sparsity is {sparsity}; it must be at least 0 and below 1 (0.3 removes 30 %)"
            );
        }
        let Some(gradual) = self.gradual else { return Ok(()) };
        gradual.check()?;
        ensure!(
            matches!(self.method, Method::Magnitude { .. }),
            "an n:m pattern cannot be reached gradually; remove `gradual`, or prune by sparsity"
        );
        let Some(steps) = steps else { return Ok(()) };
        let (times, last) = (gradual.steps, gradual.last(steps));
        ensure!(
            times <= last,
            "gradual.steps is {times}, but the full sparsity is due after {last} of {steps} optimizer steps; lower it \
             or train longer"
        );
        Ok(())
    }

    /// Removes weights from host tensors.
    pub fn prune(&self, tensors: &mut HostTensors) -> Result<PruneReport> {
        self.check(None)?;
        for (name, mask) in self.masks(tensors, 1.0)? {
            if let Some(tensor) = tensors.get_mut(&name) {
                mask.zero(&mut tensor.data);
            }
        }
        self.report(tensors)
    }

    /// Remove `share` of the weights to remove from a model in training. Returns the model and the masks that keep the
    /// removed weights at zero, in the model's layout.
    ///
    /// Weights that are already zero count among the smallest, so this removes earlier removed weights again. Zeros in
    /// any linear layer stay, also zeros from another method. A matrix without zeros gets no mask.
    pub fn apply(&self, model: Model, share: f64) -> Result<(Model, Masks)> {
        let parameters = model.parameters();
        let all = targets::select(&[], parameters.iter().map(|p| (p.name.as_str(), p.shape.as_slice())))?;
        let all: BTreeSet<String> = all.into_iter().collect();
        let mut tensors = walk::to_host_of(&model, |name| all.contains(name))?;
        let mut masks = self.masks(&tensors, share)?;
        for (name, tensor) in &tensors {
            masks.entry(name.clone()).or_insert_with(|| Mask::new(tensor.data.len())).remove_zeros(&tensor.data);
        }
        masks.retain(|_, mask| mask.removed() > 0);
        for parameter in &parameters {
            let (Some(tensor), Some(mask)) = (tensors.get_mut(&parameter.name), masks.get_mut(&parameter.name)) else {
                continue;
            };
            mask.zero(&mut tensor.data);
            if let (Layout::Transposed, [_, columns]) = (parameter.layout, &parameter.shape[..]) {
                *mask = mask.transposed(*columns);
            }
        }
        Ok((walk::fill(model, tensors)?.0, masks))
    }

    /// The share of the removal that must be done before optimizer step `step` (from 0) of `total`, or `None` if this
    /// step changes nothing.
    pub fn due(&self, step: u64, total: u64) -> Option<f64> {
        match self.gradual {
            Some(gradual) => gradual.share(step, total),
            None => (step == 0).then_some(1.0),
        }
    }

    /// Whether the removal is complete after `done` of `total` optimizer steps.
    pub fn is_over(&self, done: u64, total: u64) -> bool {
        done > self.gradual.map_or(0, |gradual| gradual.last(total))
    }

    /// The weights to remove, in the layout of the files.
    fn masks(&self, tensors: &HostTensors, share: f64) -> Result<Masks> {
        let names = self.select(tensors)?;
        let matrices: Vec<&[f32]> = names.iter().map(|name| tensors[name].data.as_slice()).collect();
        let masks = match self.method {
            Method::Magnitude { sparsity, scope } => magnitude::masks(&matrices, sparsity * share, scope),
            Method::Pattern(pattern) => {
                for name in &names {
                    let (inputs, group) = (tensors[name].shape[1], pattern.group());
                    ensure!(
                        inputs.is_multiple_of(group),
                        "matrix {name} has {inputs} inputs, not a multiple of {group} (pattern {pattern}); leave it \
                         out with `targets`, or choose another pattern"
                    );
                }
                matrices.par_iter().map(|matrix| pattern.mask(matrix)).collect()
            }
        };
        Ok(names.into_iter().zip(masks).collect())
    }

    /// Count the zeros in the pruned layers.
    pub fn report(&self, tensors: &HostTensors) -> Result<PruneReport> {
        let layer = |name: String| {
            let values = &tensors[&name].data;
            PrunedLayer { weights: values.len(), zeroed: values.par_iter().filter(|v| **v == 0.0).count(), name }
        };
        let layers: Vec<PrunedLayer> = self.select(tensors)?.into_iter().map(layer).collect();
        let weights = layers.iter().map(|layer| layer.weights).sum();
        let zeroed = layers.iter().map(|layer| layer.zeroed).sum();
        let achieved = zeroed as f64 / weights as f64;
        Ok(PruneReport { pruning: self.clone(), recovery: None, layers, weights, zeroed, achieved })
    }

    fn select(&self, tensors: &HostTensors) -> Result<Vec<String>> {
        targets::select(&self.targets, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice())))
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
