//! The gradients of one optimizer step, added up over micro-batches, and their norm.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::flat::{CHUNK, Flat, unreadable};

/// Gradients of one optimizer step: one per trainable parameter, added up over micro-batches.
#[derive(Default)]
pub struct Accumulated {
    /// By position in the optimizer's list of parameters.
    pub(super) grads: BTreeMap<usize, Flat>,
}

impl Accumulated {
    /// Add gradients that another device computed for the same parameters.
    pub fn merge(&mut self, others: Self) -> Result<()> {
        others.grads.into_iter().try_for_each(|(place, grad)| self.add_to(place, grad))
    }

    pub(super) fn add_to(&mut self, place: usize, grad: Flat) -> Result<()> {
        let sum = match (self.grads.remove(&place), grad) {
            (None, grad) => grad,
            (Some(Flat::Host(mut sum)), Flat::Host(grad)) => {
                let values = grad.as_slice::<f32>().map_err(unreadable)?;
                let sums = sum.as_mut_slice::<f32>().map_err(unreadable)?;
                let chunks = sums.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK));
                chunks.for_each(|(sums, values)| sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += x));
                Flat::Host(sum)
            }
            (Some(Flat::Device(sum)), Flat::Device(grad)) => {
                let grad = grad.to_device(&sum.device());
                Flat::Device(sum + grad)
            }
            (Some(_), _) => return Err(anyhow!("internal error: gradients of one parameter on host and device")),
        };
        self.grads.insert(place, sum);
        Ok(())
    }

    /// Wait until the device has computed all gradients; this returns the device's errors.
    pub fn wait(&self) -> Result<()> {
        self.norm()?.read().map(drop)
    }

    /// The L2 norm over all gradients together, as `torch.nn.utils.clip_grad_norm_` reports it.
    pub(super) fn norm(&self) -> Result<Norm> {
        let mut on_host = 0.0f64;
        let mut on_device: Option<Tensor<1>> = None;
        for grad in self.grads.values() {
            match grad {
                // Partial sums in a fixed order: the result does not depend on the number of threads.
                Flat::Host(data) => {
                    let values = data.as_slice::<f32>().map_err(unreadable)?;
                    on_host += values.par_chunks(CHUNK).map(sum_of_squares).collect::<Vec<f64>>().iter().sum::<f64>();
                }
                Flat::Device(tensor) => {
                    let sum = tensor.clone().square().sum();
                    on_device = Some(match on_device {
                        Some(total) => total + sum,
                        None => sum,
                    });
                }
            }
        }
        Ok(match on_device {
            None => Norm::Host(on_host.sqrt()),
            Some(sum) => Norm::Device(Box::new(sum.sqrt())),
        })
    }
}

/// A gradient norm. On a GPU it is read after the step is queued, so that the device need not wait for the host.
pub enum Norm {
    Host(f64),
    Device(Box<Tensor<1>>),
}

impl Norm {
    /// Read the value.
    pub fn read(self) -> Result<f64> {
        match self {
            Self::Host(norm) => Ok(norm),
            Self::Device(norm) => Ok(f64::from(norm.try_into_scalar::<f32>()?)),
        }
    }
}

/// Eight lanes, so that the loop vectorises; f64, so that sums of millions of squares keep the small ones.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut lanes = [0f64; 8];
    let mut chunks = values.chunks_exact(8);
    for chunk in &mut chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &x)| *lane += f64::from(x) * f64::from(x));
    }
    let rest: f64 = chunks.remainder().iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    lanes.iter().sum::<f64>() + rest
}
