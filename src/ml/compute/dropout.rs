//! Dropout whose masks depend only on seed, step and position, never on a global generator.

use burn::tensor::{Device, Int, IntDType, Tensor, TensorData};
use rayon::prelude::*;

use super::device;
use super::kernel::vectorized_call;
use super::precision::Precision;

/// The mode of one forward pass: its dropout masks and the precision of its matrix products.
///
/// Stages train in parallel in one process. With a generator shared by the whole process, as Burn's is,
/// the result of one stage would depend on the timing of another.
#[derive(Debug, Clone)]
pub enum Pass {
    /// Evaluation: no dropout, f32.
    Off,
    /// Training: dropout with the masks of one step.
    Seeded(Counter),
}

/// Identifies a mask: the key of the step, and how many masks the step has drawn so far.
#[derive(Debug, Clone)]
pub struct Counter {
    key: u64,
    site: u64,
    /// The precision of the step's matrix products.
    precision: Precision,
}

impl Pass {
    /// The masks of training step `step` (micro-batches count as steps) under `seed`.
    pub fn step(seed: u64, step: u64) -> Self {
        let key = mix(mix(seed ^ 0x6a09_e667_f3bc_c908).wrapping_add(step));
        Pass::Seeded(Counter { key, site: 0, precision: Precision::F32 })
    }

    /// The same pass with its matrix products in `precision`.
    pub fn in_precision(mut self, precision: Precision) -> Self {
        if let Pass::Seeded(counter) = &mut self {
            counter.precision = precision;
        }
        self
    }

    /// The precision of matrix products: the step's in training, f32 in evaluation.
    pub fn precision(&self) -> Precision {
        match self {
            Pass::Off => Precision::F32,
            Pass::Seeded(counter) => counter.precision,
        }
    }

    /// The masks of training step `step` on device number `rank`, if several devices share a step. The first device has
    /// the masks of [`Pass::step`].
    pub fn rank(seed: u64, step: u64, rank: u64) -> Self {
        Self::step(seed ^ rank.wrapping_mul(0x9e37_79b9_7f4a_7c15), step)
    }

    /// Draw the next mask with probability `p`. Returns `None` in evaluation and if `p` drops nothing.
    pub fn mask(&mut self, p: f64) -> Option<Mask> {
        let Pass::Seeded(counter) = self else { return None };
        if p <= 0.0 {
            return None;
        }
        let key = mix(counter.key.wrapping_add(counter.site));
        counter.site += 1;
        Some(Mask::new(key, p))
    }

    /// Zeroes each element with probability `p` and scales the others by `1 / (1 - p)`.
    ///
    /// Every device applies the factors of the same [`Mask`].
    pub fn dropout<const D: usize>(&mut self, x: Tensor<D>, p: f64) -> Tensor<D> {
        let Some(mask) = self.mask(p) else { return x };
        let (device, shape) = (x.device(), x.shape());
        let width = shape.dims::<D>()[D - 1];
        // The factors are constants, so they stay out of the autodiff graph.
        let factors = if device::is_cpu(&device) {
            Tensor::from_data(TensorData::new(mask.rows(shape.num_elements(), width), shape), &device)
        } else {
            mask.on_device(shape.num_elements() / width.max(1), width, &device).reshape(shape)
        };
        x * factors
    }
}

/// The factors of one dropout. They are a function of (seed, step, number of the mask within the step) and of row and
/// column, so a backward pass can draw them again, on any number of threads.
#[derive(Debug, Clone)]
pub struct Mask {
    key: u64,
    /// A lane of 16 bits below this value is dropped: `p` is rounded to a multiple of 2^-16.
    threshold: u32,
    /// Computed from the rounded probability, so that the expectation is exact.
    scale: f32,
}

/// Elements of a block; one hash draws two of them.
const BLOCK: usize = 64;

/// Rows that a thread fills at a time.
const ROWS: usize = 32;

impl Mask {
    fn new(key: u64, p: f64) -> Self {
        let threshold = ((p * 65536.0).round() as u32).min(65535);
        Self { key, threshold, scale: 65536.0 / (65536 - threshold) as f32 }
    }

    /// Writes the factors of row `row`: each 0 with probability `p` and `1 / (1 - p)` otherwise.
    pub fn fill(&self, row: usize, factors: &mut [f32]) {
        let first = row.wrapping_mul(factors.len().div_ceil(BLOCK)).wrapping_mul(BLOCK / 2) as u32;
        vectorized_call(fill, (self.clone(), first, factors));
    }

    /// The factors of `len` elements in rows of `width`.
    fn rows(&self, len: usize, width: usize) -> Vec<f32> {
        let mut factors = vec![0f32; len];
        if width > 0 {
            factors.par_chunks_mut(ROWS * width).enumerate().for_each(|(block, rows)| {
                rows.chunks_exact_mut(width).enumerate().for_each(|(i, row)| self.fill(block * ROWS + i, row));
            });
        }
        factors
    }

    /// The same factors as `[rows, width]`, computed on the device. A GPU can draw them again as well, for gradient
    /// checkpointing.
    fn on_device(&self, rows: usize, width: usize, device: &Device) -> Tensor<2> {
        let padded = width.next_multiple_of(BLOCK);
        let half = BLOCK as u32 / 2;
        let place = Tensor::<1, Int>::arange(0..(rows * padded) as i64, device).cast(IntDType::U32);
        let within = place.clone().bitwise_and_scalar(BLOCK as u32 - 1);
        let block = place.bitwise_right_shift_scalar(BLOCK.trailing_zeros());
        let counter = block.mul_scalar(half) + within.clone().bitwise_and_scalar(half - 1);
        let lane = within.bitwise_right_shift_scalar(half.trailing_zeros()).mul_scalar(16u32); // 0 or 16 bits.
        let bits = hash_on_device(counter, self.key).bitwise_right_shift(lane).bitwise_and_scalar(0xffffu32);
        let factors = bits.greater_equal_elem(self.threshold).float().mul_scalar(self.scale);
        factors.reshape([rows, padded]).narrow(1, 0, width)
    }
}

/// Writes the factors of a row whose first counter is `first`.
#[inline(always)]
fn fill((mask, first, factors): (Mask, u32, &mut [f32])) {
    let mut counter = first;
    let (blocks, rest) = factors.as_chunks_mut::<BLOCK>();
    for factors in blocks {
        block(&mask, counter, factors);
        counter = counter.wrapping_add(BLOCK as u32 / 2);
    }
    if !rest.is_empty() {
        let mut last = [0f32; BLOCK];
        block(&mask, counter, &mut last);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// Works on two halves, one per lane, with bit masks instead of branches, so that the compiler emits plain vector code.
#[inline(always)]
fn block(mask: &Mask, counter: u32, factors: &mut [f32; BLOCK]) {
    let Mask { key, threshold, scale } = *mask;
    let pick = |lane: u32| f32::from_bits(scale.to_bits() & u32::from(lane >= threshold).wrapping_neg());
    let mut bits = [0u32; BLOCK / 2];
    for (i, bits) in bits.iter_mut().enumerate() {
        *bits = hash(counter.wrapping_add(i as u32), key);
    }
    let (low, high) = factors.split_at_mut(BLOCK / 2);
    low.iter_mut().zip(&bits).for_each(|(factor, bits)| *factor = pick(bits & 0xffff));
    high.iter_mut().zip(&bits).for_each(|(factor, bits)| *factor = pick(bits >> 16));
}

/// MurmurHash3's 32-bit finalizer over a counter; half of the key enters before it and half within it.
#[inline(always)]
fn hash(counter: u32, key: u64) -> u32 {
    let h = counter.wrapping_mul(0x9e37_79b9).wrapping_add(key as u32);
    let h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b) ^ (key >> 32) as u32;
    let h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// [`hash`] of tensors of 32-bit unsigned integers.
fn hash_on_device(counter: Tensor<1, Int>, key: u64) -> Tensor<1, Int> {
    let fold = |h: Tensor<1, Int>, bits: u32| h.clone().bitwise_xor(h.bitwise_right_shift_scalar(bits));
    let h = counter.mul_scalar(0x9e37_79b9u32).add_scalar(key as u32);
    let h = fold(h, 16).mul_scalar(0x85eb_ca6bu32).bitwise_xor_scalar((key >> 32) as u32);
    let h = fold(h, 13).mul_scalar(0xc2b2_ae35u32);
    fold(h, 16)
}

/// SplitMix64's step and finalizer (Steele, Lea & Flood 2014): a bijection that mixes all 64 bits.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ones(n: usize) -> Tensor<2> {
        Tensor::ones([n, 8], &Device::flex())
    }

    fn values(x: Tensor<2>) -> Vec<f32> {
        x.into_data().try_to_vec().expect("f32 on the CPU")
    }

    /// A mask that drops half of about `n` elements.
    fn mask(key: u64, n: usize) -> Vec<f32> {
        Mask::new(key, 0.5).rows(n - n % 1024, 1024)
    }

    #[test]
    fn off_and_zero_probability_change_nothing() {
        assert_eq!(values(Pass::Off.dropout(ones(3), 0.5)), vec![1.0; 24]);
        assert_eq!(values(Pass::step(1, 1).dropout(ones(3), 0.0)), vec![1.0; 24]);
    }

    #[test]
    fn drops_the_asked_share_and_keeps_the_expectation() {
        for p in [0.1, 0.5, 0.9] {
            let out = values(Pass::step(7, 3).dropout(ones(40_000), p));
            let dropped = out.iter().filter(|v| **v == 0.0).count() as f64 / out.len() as f64;
            let mean = out.iter().map(|v| *v as f64).sum::<f64>() / out.len() as f64;
            assert!((dropped - p).abs() < 0.004, "p {p}: dropped {dropped}");
            assert!((mean - 1.0).abs() < 0.02, "p {p}: mean {mean}");
        }
    }

    #[test]
    fn same_seed_step_and_call_give_the_same_mask_whatever_the_threads() {
        let n = 3 * (1 << 15) + 5;
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool");
        assert_eq!(one.install(|| mask(9, n)), three.install(|| mask(9, n)));

        let first = values(Pass::step(5, 2).dropout(ones(100), 0.3));
        assert_eq!(first, values(Pass::step(5, 2).dropout(ones(100), 0.3)));
    }

    #[test]
    fn a_gpu_draws_the_factors_that_the_cpu_draws() {
        // Runs the integer operations of the GPU version on the CPU.
        for (rows, width) in [(3, 64), (5, 1), (7, 100), (2, 768)] {
            let mask = Mask::new(mix(21), 0.1);
            assert_eq!(values(mask.on_device(rows, width, &Device::flex())), mask.rows(rows * width, width));
        }
    }

    #[test]
    fn seeds_steps_and_calls_give_different_masks() {
        let mut pass = Pass::step(5, 2);
        let first = values(pass.dropout(ones(100), 0.3));
        let second = values(pass.dropout(ones(100), 0.3));
        let other_step = values(Pass::step(5, 3).dropout(ones(100), 0.3));
        let other_seed = values(Pass::step(6, 2).dropout(ones(100), 0.3));
        assert!(first != second && first != other_step && first != other_seed);
    }

    #[test]
    fn lanes_of_a_hash_are_uncorrelated() {
        let mask = mask(mix(3), 1 << 18);
        let half = BLOCK / 2;
        let pairs = mask.chunks_exact(BLOCK).flat_map(|block| (0..half).map(move |i| block[i] == block[i + half]));
        let agree = pairs.filter(|same| *same).count() as f64 / (1 << 17) as f64;
        assert!((agree - 0.5).abs() < 0.006, "agreement {agree}");
        let next = mask.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64 / mask.len() as f64;
        assert!((next - 0.5).abs() < 0.005, "agreement of neighbours {next}");
    }

    #[test]
    fn neighbouring_masks_are_uncorrelated() {
        // Agreement of two independent masks at p = 0.5 is 0.5.
        let (a, b) = (mask(mix(11), 1 << 18), mask(mix(12), 1 << 18));
        let agree = a.iter().zip(&b).filter(|(x, y)| x == y).count() as f64 / a.len() as f64;
        assert!((agree - 0.5).abs() < 0.005, "agreement {agree}");
    }
}
