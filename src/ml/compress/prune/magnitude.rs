//! Finds the smallest weights of some matrices, without structure.

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mask::Mask;

/// Which weights are ranked together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Rank weights within each matrix: each matrix loses the same share.
    #[default]
    Local,
    /// Rank weights across all matrices: matrices with small weights lose more.
    Global,
}

/// Without the sign, the bits of floats have the same order as their magnitudes.
pub(super) fn rank(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

/// Remove the `sparsity` share of smallest magnitude (L1): of `n` competing weights exactly `⌊sparsity · n⌋`, and of
/// equal weights the first ones. Returns one mask per matrix.
pub(super) fn masks(matrices: &[&[f32]], sparsity: f64, scope: Scope) -> Vec<Mask> {
    match scope {
        Scope::Local => matrices.par_iter().flat_map(|matrix| smallest(&[matrix], sparsity)).collect(),
        Scope::Global => smallest(matrices, sparsity),
    }
}

/// Remove the `sparsity` share of all `parts` together.
fn smallest(parts: &[&[f32]], sparsity: f64) -> Vec<Mask> {
    let n: usize = parts.iter().map(|part| part.len()).sum();
    let mut masks: Vec<Mask> = parts.iter().map(|part| Mask::new(part.len())).collect();
    // The small addend makes 0.29 · 100 give 29, although the product is 28.999999999999996.
    let count = (sparsity * n as f64 + 1e-6).floor() as usize;
    if count == 0 {
        return masks;
    }
    let (limit, below) = order_statistic(parts, count);
    let mut ties = count - below;
    for (part, mask) in parts.iter().zip(&mut masks) {
        for (at, value) in part.iter().enumerate() {
            let rank = rank(*value);
            if rank < limit {
                mask.remove(at);
            } else if rank == limit && ties > 0 {
                mask.remove(at);
                ties -= 1;
            }
        }
    }
    masks
}

/// The rank of the `count`-th smallest magnitude (counted from one), and how many are smaller.
///
/// Counts by the upper half of the bits and then by the lower half: exact, in two passes, without
/// a sorted copy of what may be 85 million weights.
fn order_statistic(parts: &[&[f32]], count: usize) -> (u32, usize) {
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
    // Callers never ask for more items than there are.
    (bins.len() as u32 - 1, before)
}
