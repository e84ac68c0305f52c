//! Set the smallest weights of a model's linear layers to zero.

pub mod importance;
pub mod structured;

use std::fmt;

use anyhow::{Result, ensure};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::host::{HostTensor, HostTensors};

/// Which weights compete for staying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Within each matrix: each loses the same share.
    #[default]
    Local,
    /// Across all matrices: those with small weights lose more.
    Global,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Local => "local",
            Scope::Global => "global",
        })
    }
}

/// What pruning did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PruneReport {
    pub layers: Vec<PrunedLayer>,
    /// Weights of all layers, and how many of them are zero now.
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

/// True for the weights of linear layers, the head's included: matrices that are no tables.
pub fn is_linear(name: &str, tensor: &HostTensor) -> bool {
    tensor.shape.len() == 2 && name.ends_with(".weight") && !name.contains("embeddings")
}

/// Zeroes the `sparsity` share of smallest magnitude (L1, unstructured): of `n` competing weights
/// exactly `⌊sparsity · n⌋`, and among equal ones those that come first.
///
/// Weights that are zero already count among the smallest, so pruning twice equals pruning once.
pub fn magnitude(tensors: &mut HostTensors, sparsity: f64, scope: Scope) -> Result<PruneReport> {
    ensure!(
        (0.0..1.0).contains(&sparsity),
        "sparsity is {sparsity}; it must be at least 0 and below 1 (0.3 removes 30 %)"
    );
    let mut layers: Vec<(&String, &mut [f32])> = tensors
        .iter_mut()
        .filter(|(name, tensor)| is_linear(name, tensor))
        .map(|(name, tensor)| (name, tensor.data.as_mut_slice()))
        .collect();
    ensure!(!layers.is_empty(), "the model has no linear layers to prune");
    match scope {
        Scope::Local => layers.par_iter_mut().for_each(|(_, weights)| zero_smallest(&mut [weights], sparsity)),
        Scope::Global => {
            let mut all: Vec<&mut [f32]> = layers.iter_mut().map(|(_, weights)| &mut **weights).collect();
            zero_smallest(&mut all, sparsity);
        }
    }
    let layers: Vec<PrunedLayer> = layers
        .into_iter()
        .map(|(name, weights)| PrunedLayer {
            name: name.clone(),
            weights: weights.len(),
            zeroed: weights.iter().filter(|v| **v == 0.0).count(),
        })
        .collect();
    let weights = layers.iter().map(|layer| layer.weights).sum();
    let zeroed = layers.iter().map(|layer| layer.zeroed).sum();
    Ok(PruneReport { layers, weights, zeroed, achieved: zeroed as f64 / weights as f64 })
}

/// Without its sign, a float's bits order as its magnitude does.
fn rank(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

/// Zeroes the `sparsity` share of smallest magnitude of all `parts` together.
fn zero_smallest(parts: &mut [&mut [f32]], sparsity: f64) {
    let n: usize = parts.iter().map(|part| part.len()).sum();
    // The small addend keeps 0.29 · 100 at 29 although the product is 28.999999999999996.
    let count = (sparsity * n as f64 + 1e-6).floor() as usize;
    if count == 0 {
        return;
    }
    let (limit, below) = order_statistic(parts, count);
    let mut ties = count - below;
    for value in parts.iter_mut().flat_map(|part| part.iter_mut()) {
        let rank = rank(*value);
        if rank < limit {
            *value = 0.0;
        } else if rank == limit && ties > 0 {
            *value = 0.0;
            ties -= 1;
        }
    }
}

/// The rank of the `count`-th smallest magnitude (counted from one) and how many are smaller.
///
/// Counts by the upper half of the bits and then by the lower half: exact, in two passes, without
/// a sorted copy of what may be 85 million weights.
fn order_statistic(parts: &[&mut [f32]], count: usize) -> (u32, usize) {
    let values = || parts.iter().flat_map(|part| part.iter()).map(|v| rank(*v));
    let mut upper = vec![0usize; 1 << 15];
    values().for_each(|rank| upper[(rank >> 16) as usize] += 1);
    let (high, before) = locate(&upper, count);
    let mut lower = vec![0usize; 1 << 16];
    values().filter(|rank| rank >> 16 == high).for_each(|rank| lower[(rank & 0xffff) as usize] += 1);
    let (low, within) = locate(&lower, count - before);
    (high << 16 | low, before + within)
}

/// The bin that holds the `count`-th item, and how many items the bins before it hold.
fn locate(bins: &[usize], count: usize) -> (u32, usize) {
    let mut before = 0;
    for (bin, size) in bins.iter().enumerate() {
        if before + size >= count {
            return (bin as u32, before);
        }
        before += size;
    }
    // Callers ask for no more than there is.
    (bins.len() as u32 - 1, before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], data: &[f32]) -> HostTensor {
        HostTensor { shape: shape.to_vec(), data: data.to_vec() }
    }

    fn model() -> HostTensors {
        HostTensors::from([
            ("embeddings.word_embeddings.weight".into(), tensor(&[2, 2], &[0.001; 4])),
            ("a.weight".into(), tensor(&[2, 5], &[5.0, -1.0, 3.0, -4.0, 2.0, 6.0, -7.0, 8.0, 9.0, -10.0])),
            ("a.bias".into(), tensor(&[2], &[0.001, 0.001])),
            ("b.weight".into(), tensor(&[2, 5], &[0.1, 0.2, -0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])),
            ("LayerNorm.weight".into(), tensor(&[2], &[0.001, 0.001])),
        ])
    }

    #[test]
    fn local_takes_the_same_share_of_every_matrix() {
        let mut tensors = model();
        let report = magnitude(&mut tensors, 0.3, Scope::Local).expect("pruned");
        assert_eq!(tensors["a.weight"].data, [5.0, 0.0, 0.0, -4.0, 0.0, 6.0, -7.0, 8.0, 9.0, -10.0]);
        assert_eq!(tensors["b.weight"].data[..4], [0.0, 0.0, 0.0, 0.4]);
        assert_eq!((report.weights, report.zeroed, report.achieved), (20, 6, 0.3));
        let names: Vec<&str> = report.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["a.weight", "b.weight"]);
    }

    #[test]
    fn global_takes_the_smallest_of_all() {
        let mut tensors = model();
        let report = magnitude(&mut tensors, 0.3, Scope::Global).expect("pruned");
        assert_eq!(report.layers.iter().map(|layer| layer.zeroed).collect::<Vec<_>>(), [0, 6]);
        assert_eq!(report.zeroed, 6);
    }

    #[test]
    fn everything_but_linear_weights_is_left_alone() {
        let mut tensors = model();
        magnitude(&mut tensors, 0.9, Scope::Global).expect("pruned");
        for name in ["embeddings.word_embeddings.weight", "a.bias", "LayerNorm.weight"] {
            assert_eq!(tensors[name], model()[name]);
        }
    }

    #[test]
    fn of_equal_weights_the_first_go() {
        let mut tensors = HostTensors::from([("a.weight".into(), tensor(&[1, 4], &[1.0, -1.0, 1.0, -1.0]))]);
        magnitude(&mut tensors, 0.5, Scope::Local).expect("pruned");
        assert_eq!(tensors["a.weight"].data, [0.0, 0.0, 1.0, -1.0]);
    }

    #[test]
    fn counts_are_exact_and_pruning_twice_equals_pruning_once() {
        let data: Vec<f32> = (0..10_007).map(|i: i32| ((i * 7919) % 10_007 - 5000) as f32 * 1e-3).collect();
        for sparsity in [0.0, 0.29, 0.3, 0.5, 0.999] {
            let mut tensors = HostTensors::from([("a.weight".into(), tensor(&[1, 10_007], &data))]);
            let before = data.iter().filter(|v| **v == 0.0).count();
            let report = magnitude(&mut tensors, sparsity, Scope::Local).expect("pruned");
            assert_eq!(report.zeroed, ((sparsity * 10_007.0) as usize).max(before), "{sparsity}");
            let once = tensors.clone();
            magnitude(&mut tensors, sparsity, Scope::Local).expect("pruned");
            assert_eq!(tensors, once);
        }
    }

    #[test]
    fn a_share_outside_zero_to_one_is_refused() {
        for sparsity in [1.0, 1.5, -0.1, f64::NAN] {
            let error = magnitude(&mut model(), sparsity, Scope::Local).map(|_| ()).expect_err("refused");
            assert!(error.to_string().starts_with("sparsity is"), "{error}");
        }
    }
}
