//! AdamW's formula: the update of one parameter from its gradient and moments, on the host and on a device.

use burn::tensor::Tensor;
use rayon::prelude::*;
use serde::Serialize;

use super::flat::CHUNK;
use crate::compute::kernel::vectorized_call;

/// Hyperparameters of AdamW.
///
/// Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019; `torch.optim.AdamW`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AdamWSettings {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// Applied to weights only: [`Named::decay`](crate::model::Named) is false for biases and LayerNorm.
    pub weight_decay: f64,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// The factors for the update of one parameter, in torch's terms.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    beta2: f32,
    /// 1 − beta1 and 1 − beta2, computed in f64: in f32, 1 − 0.999 is wrong in its fifth digit.
    rest1: f32,
    rest2: f32,
    epsilon: f32,
    /// 1 − lr · weight_decay, or 1.
    keep: f32,
    /// lr / (1 − beta1^t).
    step_size: f32,
    /// √(1 − beta2^t).
    root_correction: f32,
}

impl Numbers {
    /// The factors of step `t`, counted from 1.
    pub(super) fn of(settings: AdamWSettings, t: u64, lr: f64, decay: bool) -> Self {
        let AdamWSettings { beta1, beta2, epsilon, weight_decay } = settings;
        let t = t as f64;
        Self {
            beta2: beta2 as f32,
            rest1: (1.0 - beta1) as f32,
            rest2: (1.0 - beta2) as f32,
            epsilon: epsilon as f32,
            keep: if decay { (1.0 - lr * weight_decay) as f32 } else { 1.0 },
            step_size: (lr / (1.0 - beta1.powf(t))) as f32,
            root_correction: (1.0 - beta2.powf(t)).sqrt() as f32,
        }
    }
}

/// Update parameter, gradient, first and second moment of the same elements in one pass.
pub(super) fn on_cpu((p, g, m, v): (&mut [f32], &[f32], &mut [f32], &mut [f32]), n: Numbers, scale: f32) {
    let chunks =
        p.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(m.par_chunks_mut(CHUNK)).zip(v.par_chunks_mut(CHUNK));
    chunks.for_each(|chunk| vectorized_call(update, (chunk, n, scale)));
}

/// Parameter, gradient, first and second moment.
type Chunk<'a> = (((&'a mut [f32], &'a [f32]), &'a mut [f32]), &'a mut [f32]);

#[inline(always)]
fn update(((((p, g), m), v), n, scale): (Chunk, Numbers, f32)) {
    for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
        let g = g * scale;
        *m += n.rest1 * (g - *m);
        *v = n.beta2 * *v + n.rest2 * g * g;
        *p = *p * n.keep - n.step_size * (*m / (v.sqrt() / n.root_correction + n.epsilon));
    }
}

/// The same update as tensor operations.
pub(super) fn on_device(
    p: Tensor<1>,
    g: Tensor<1>,
    m: Tensor<1>,
    v: Tensor<1>,
    n: Numbers,
) -> (Tensor<1>, Tensor<1>, Tensor<1>) {
    let m = m.clone() + (g.clone() - m).mul_scalar(n.rest1);
    let v = v.mul_scalar(n.beta2) + g.square().mul_scalar(n.rest2);
    let root = v.clone().sqrt().div_scalar(n.root_correction).add_scalar(n.epsilon);
    let p = p.mul_scalar(n.keep) - (m.clone() / root).mul_scalar(n.step_size);
    (p, m, v)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// β₁, β₂, ε and weight decay, and the parameters of `torch.optim.AdamW` after the three steps of `GRADIENTS` at lr
    /// 0.1.
    const TORCH: [([f64; 4], [f32; 3]); 3] = [
        ([0.9, 0.999, 1e-8, 0.0], [0.2996695, -1.0385342, 1.8772389]),
        ([0.8, 0.95, 1e-3, 0.1], [0.2933744, -1.0427458, 1.8316209]),
        ([0.0, 0.5, 1e-1, 0.0], [0.3918298, -1.0413657, 2.0341394]),
    ];
    const GRADIENTS: [[f32; 3]; 3] = [[0.3, -0.002, 1.0], [-0.1, 0.05, 0.0], [0.2, 0.01, -3.0]];

    #[test]
    fn betas_epsilon_and_decay_are_torchs() {
        for ([beta1, beta2, epsilon, weight_decay], expected) in TORCH {
            let settings = AdamWSettings { beta1, beta2, epsilon, weight_decay };
            let (mut p, mut m, mut v) = ([0.5f32, -1.0, 2.0], [0f32; 3], [0f32; 3]);
            for (step, g) in GRADIENTS.iter().enumerate() {
                let numbers = Numbers::of(settings, step as u64 + 1, 0.1, true);
                on_cpu((&mut p, g, &mut m, &mut v), numbers, 1.0);
            }
            assert!(
                p.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
                "{settings:?}: {p:?}, torch {expected:?}"
            );
        }
    }
}
