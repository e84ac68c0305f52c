//! AdamW with global-norm clipping over a model's trainable parameters.
//!
//! This module replaces burn-optim's AdamW for three reasons: torch's order of operations, moments that a checkpoint
//! can read and write, and on the CPU a single in-place pass over each parameter instead of ten tensor operations.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, anyhow, ensure};
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

use super::flat::{Flat, unreadable};
use super::gradients::{Accumulated, Norm};
use super::held::Held;
use super::update::{AdamWSettings, Numbers, on_cpu, on_device};
use crate::compress::prune::{Mask, Masks};
use crate::model::walk::Parameters;
use crate::model::{Named, walk};

/// AdamW and its state.
pub struct AdamW {
    pub(super) settings: AdamWSettings,
    pub(super) steps: u64,
    /// In the order of [`walk::list`]. Parameter ids differ between two loads of one model, and the gradient norm must
    /// be summed in the same order each time.
    slots: Vec<Slot>,
    pub(super) places: HashMap<ParamId, usize>,
    pub(super) device: Device,
    pub(super) on_host: bool,
}

/// The state of one trainable parameter.
struct Slot {
    name: String,
    decay: bool,
    len: usize,
    /// Running means of the gradient and of its square; `None` before the first step.
    moments: Option<(Flat, Flat)>,
    /// The parameter's values that stay zero.
    held: Option<Held>,
}

impl AdamW {
    /// State for the trainable parameters of `model`; frozen parameters have none.
    pub fn new<M: Parameters>(settings: AdamWSettings, model: &M, device: &Device) -> Self {
        Self::placed(settings, model, device, crate::compute::device::is_cpu(device))
    }

    fn placed<M: Parameters>(settings: AdamWSettings, model: &M, device: &Device, on_host: bool) -> Self {
        let slot = |named: &Named| Slot {
            name: named.name.clone(),
            decay: named.decay,
            len: named.shape.iter().product(),
            moments: None,
            held: None,
        };
        let mut named = walk::list(model);
        named.retain(|named| named.trainable);
        let slots = named.iter().map(slot).collect();
        let places = named.iter().enumerate().map(|(place, named)| (named.id, place)).collect();
        Self { settings, steps: 0, slots, places, device: device.clone(), on_host }
    }

    /// One step: clip all gradients together to `max_norm`, then update. Returns the norm before clipping.
    ///
    /// Clips as `torch.nn.utils.clip_grad_norm_` does: scales all gradients by min(1, max_norm / (norm + 1e-6)). If the
    /// norm is on the host and not finite, this takes no step: model and moments stay as they are.
    pub fn step<M: Module>(
        &mut self,
        model: M,
        mut grads: Accumulated,
        lr: f64,
        max_norm: Option<f64>,
    ) -> Result<(M, Norm)> {
        self.hold_back(&mut grads)?;
        let norm = grads.norm()?;
        if matches!(norm, Norm::Host(norm) if !norm.is_finite()) {
            return Ok((model, norm));
        }
        let scale = match (&norm, max_norm) {
            (_, None) => Scale::Host(1.0),
            (Norm::Host(norm), Some(max)) => Scale::Host((max / (norm + 1e-6)).min(1.0) as f32),
            (Norm::Device(norm), Some(max)) => {
                let norm = norm.as_ref().clone();
                Scale::Device(Box::new(norm.add_scalar(1e-6).recip().mul_scalar(max).clamp_max(1.0)))
            }
        };
        self.steps += 1;
        let mut update = Update { optimizer: self, grads: grads.grads, lr, scale, failed: None };
        let model = model.map(&mut update);
        match update.failed {
            Some(error) => Err(error),
            None => Ok((model, norm)),
        }
    }

    /// Keep values at zero that are zero now. `masks` gives them by parameter, in its layout, and replaces all earlier
    /// masks.
    ///
    /// If value, gradient and both moments are 0, AdamW's update is 0 with any decay and ε > 0. So this clears the
    /// moments here, and the gradients before each step.
    pub fn hold(&mut self, mut masks: Masks) -> Result<()> {
        let device = self.device.clone().inner();
        for slot in &mut self.slots {
            slot.held = masks.remove(&slot.name).map(|mask| Held::new(mask, self.on_host, &device));
            if let (Some(held), Some((first, second))) = (&slot.held, &mut slot.moments) {
                held.clear(first)?;
                held.clear(second)?;
            }
        }
        Ok(())
    }

    /// The masks of [`hold`](Self::hold), by parameter.
    pub fn masks(&self) -> impl Iterator<Item = (&str, &Mask)> {
        self.slots.iter().filter_map(|slot| Some((slot.name.as_str(), slot.held.as_ref()?.mask())))
    }

    /// Clear the gradients of held values, so that they do not count in the norm.
    fn hold_back(&self, grads: &mut Accumulated) -> Result<()> {
        for (place, grad) in &mut grads.grads {
            if let Some(held) = &self.slots[*place].held {
                held.clear(grad)?;
            }
        }
        Ok(())
    }

    /// Number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Number of values that the moments hold after the first step.
    pub fn state_len(&self) -> usize {
        self.slots.iter().map(|slot| 2 * slot.len).sum()
    }

    /// The moments on the host, by Hugging Face name, in this program's layout; empty before the first step.
    pub fn to_host(&self) -> Result<BTreeMap<String, [Vec<f32>; 2]>> {
        let known = self.slots.iter().filter_map(|slot| slot.moments.as_ref().map(|moments| (slot, moments)));
        known.map(|(slot, (first, second))| Ok((slot.name.clone(), [first.to_vec()?, second.to_vec()?]))).collect()
    }

    /// Restore what [`to_host`](Self::to_host) returned after `steps` steps.
    pub fn restore(&mut self, steps: u64, mut moments: BTreeMap<String, [Vec<f32>; 2]>) -> Result<()> {
        for slot in &mut self.slots {
            let Some([first, second]) = moments.remove(&slot.name) else {
                slot.moments = None;
                continue;
            };
            let len = slot.len;
            ensure!(first.len() == len && second.len() == len, "the moments of `{}` differ in size from it", slot.name);
            let flat = |values: Vec<f32>| {
                let data = TensorData::new(values, [len]);
                if self.on_host {
                    Flat::Host(data)
                } else {
                    Flat::Device(Tensor::from_data(data, &self.device.clone().inner()))
                }
            };
            slot.moments = Some((flat(first), flat(second)));
        }
        self.steps = steps;
        Ok(())
    }
}

enum Scale {
    Host(f32),
    Device(Box<Tensor<1>>),
}

/// Applies one step to each parameter in turn.
struct Update<'a> {
    optimizer: &'a mut AdamW,
    grads: BTreeMap<usize, Flat>,
    lr: f64,
    scale: Scale,
    failed: Option<anyhow::Error>,
}

impl Update<'_> {
    fn update<const D: usize>(
        &mut self,
        place: usize,
        param: Param<Tensor<D>>,
        grad: Flat,
    ) -> Result<Param<Tensor<D>>> {
        let (id, tensor, mapper) = param.consume();
        let device = tensor.device();
        let shape = tensor.shape();
        let AdamW { settings, steps, .. } = *self.optimizer;
        let numbers = Numbers::of(settings, steps, self.lr, self.optimizer.slots[place].decay);
        let on_host = self.optimizer.on_host;
        let slot = &mut self.optimizer.slots[place];
        let plain = device.clone().inner();
        let (first, second) = slot
            .moments
            .take()
            .unwrap_or_else(|| (Flat::zeros(slot.len, on_host, &plain), Flat::zeros(slot.len, on_host, &plain)));
        let strategy = tensor.gradient_checkpointing_strategy();
        let tensor = tensor.inner();
        let (tensor, moments) = match (&self.scale, grad, first, second) {
            (Scale::Host(scale), Flat::Host(grad), Flat::Host(mut first), Flat::Host(mut second)) => {
                let mut data = tensor.try_into_data()?; // No copy: nothing else holds this parameter now.
                let values = (
                    data.as_mut_slice::<f32>().map_err(unreadable)?,
                    grad.as_slice::<f32>().map_err(unreadable)?,
                    first.as_mut_slice::<f32>().map_err(unreadable)?,
                    second.as_mut_slice::<f32>().map_err(unreadable)?,
                );
                on_cpu(values, numbers, *scale);
                (Tensor::from_data(data, &device), (Flat::Host(first), Flat::Host(second)))
            }
            (scale, Flat::Device(grad), Flat::Device(first), Flat::Device(second)) => {
                let grad = match scale {
                    Scale::Host(scale) => grad.mul_scalar(*scale),
                    Scale::Device(scale) => grad * scale.as_ref().clone(),
                };
                let flat = tensor.reshape([slot.len]);
                let (flat, first, second) = on_device(flat, grad, first, second, numbers);
                let tensor = Tensor::<D>::from_inner(flat.reshape(shape));
                let tensor = match strategy {
                    Some(strategy) => tensor.with_gradient_checkpointing_strategy(strategy),
                    None => tensor,
                };
                (tensor, (Flat::Device(first), Flat::Device(second)))
            }
            _ => return Err(anyhow!("internal error: the moments of `{}` are on another device", slot.name)),
        };
        slot.moments = Some(moments);
        Ok(Param::from_mapped_value(id, tensor.require_grad(), mapper))
    }
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(&place) = self.optimizer.places.get(&param.id) else { return param };
        let Some(grad) = self.grads.remove(&place) else { return param };
        let (id, shape, device) = (param.id, param.shape(), param.device());
        self.update(place, param, grad).unwrap_or_else(|error| {
            self.failed = Some(error); // `step` then fails, so nothing uses this value.
            Param::initialized(id, Tensor::zeros(shape, &device))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::prune::{Method, Pruning, Scope};
    use crate::compute::dropout::Pass;
    use crate::model::Model;
    use crate::model::fixture::Fixture;

    /// Five steps on a fixture's batch: the norms, and the weights by name.
    fn steps(fixture: &Fixture, on_host: bool) -> (Vec<f64>, Vec<f32>) {
        let device = Device::flex().autodiff();
        let mut model = Model::load(&fixture.dir, None, 0, &device).unwrap().model;
        let settings = AdamWSettings { weight_decay: 0.01, ..AdamWSettings::default() };
        let mut optimizer = AdamW::placed(settings, &model, &device, on_host);
        let mut norms = Vec::new();
        for step in 0..5 {
            if step == 1 {
                let pruning = Pruning::of(Method::Magnitude { sparsity: 0.25, scope: Scope::Local });
                let (pruned, masks) = pruning.apply(model, 1.0).unwrap();
                optimizer.hold(masks).unwrap();
                model = pruned;
            }
            if step == 3 {
                // Move the moments to the host and back, as a checkpoint does.
                let (steps, moments) = (optimizer.steps(), optimizer.to_host().unwrap());
                let masks = optimizer.masks().map(|(name, mask)| (name.to_owned(), mask.clone())).collect();
                optimizer = AdamW::placed(settings, &model, &device, on_host);
                optimizer.restore(steps, moments).unwrap();
                optimizer.hold(masks).unwrap();
            }
            let mut grads = Accumulated::default();
            for _ in 0..2 {
                let (ids, mask) = fixture.batch(&device);
                let loss = model.forward(ids, mask, &mut Pass::Off).square().mean();
                grads.add(&model, loss.backward(), &optimizer).unwrap();
            }
            let (updated, norm) = optimizer.step(model, grads, 1e-3, Some(0.1)).unwrap();
            (model, norms) = (updated, [norms, vec![norm.read().unwrap()]].concat());
        }
        let weights = model.to_host().unwrap();
        let seen = weights.into_iter().filter(|(name, _)| !name.ends_with("key.bias")); // Rounding noise.
        (norms, seen.flat_map(|(_, tensor)| tensor.data).collect())
    }

    #[test]
    fn tensor_operations_give_what_the_pass_on_the_host_gives() {
        let fixture = Fixture::open("roberta-tiny");
        let (host, device) = (steps(&fixture, true), steps(&fixture, false));
        assert!(host.0.iter().zip(&device.0).all(|(a, b)| (a - b).abs() < 1e-4 * a), "{:?} {:?}", host.0, device.0);
        let worst = host.1.iter().zip(&device.1).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "weights differ by {worst}");
        let zeros = |weights: &[f32]| weights.iter().filter(|w| **w == 0.0).count();
        assert!(zeros(&host.1) > 10_000 && zeros(&host.1) == zeros(&device.1), "held are {}", zeros(&device.1));
    }
}
