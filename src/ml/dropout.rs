//! Dropout whose masks depend on seed, step and place alone, never on a global generator.

use burn::tensor::{Distribution, Tensor, TensorData};
use rayon::prelude::*;

use super::device;
use super::precision::Precision;

/// Where a step's dropout masks come from; off in evaluation.
///
/// Stages train in parallel in one process, so a generator shared by the process (as Burn's is)
/// would make the result of one depend on the timing of another.
#[derive(Debug, Clone)]
pub enum Noise {
    /// No dropout: evaluation.
    Off,
    /// Dropout with the masks of one training step.
    Seeded(Counter),
}

/// Identifies a mask: the step's key and how many masks the step has drawn so far.
#[derive(Debug, Clone)]
pub struct Counter {
    key: u64,
    site: u64,
    /// Of the step's matrix products.
    precision: Precision,
}

/// Elements per parallel piece; smaller tensors are filled by one thread.
const PIECE: usize = 1 << 15;

impl Noise {
    /// The masks of training step `step` (micro-batches count as steps) under `seed`.
    pub fn step(seed: u64, step: u64) -> Self {
        let key = mix(mix(seed ^ 0x6a09_e667_f3bc_c908).wrapping_add(step));
        Noise::Seeded(Counter { key, site: 0, precision: Precision::F32 })
    }

    /// The same for a step that computes its matrix products in `precision`.
    pub fn in_precision(mut self, precision: Precision) -> Self {
        if let Noise::Seeded(counter) = &mut self {
            counter.precision = precision;
        }
        self
    }

    /// How to compute matrix products: as the step says, and in f32 in evaluation.
    pub fn precision(&self) -> Precision {
        match self {
            Noise::Off => Precision::F32,
            Noise::Seeded(counter) => counter.precision,
        }
    }

    /// The masks of training step `step` on device number `rank`, where several share a step; the first has those of
    /// [`Noise::step`].
    pub fn rank(seed: u64, step: u64, rank: u64) -> Self {
        Self::step(seed ^ rank.wrapping_mul(0x9e37_79b9_7f4a_7c15), step)
    }

    /// Zeroes each element with probability `p` and scales the others by `1 / (1 - p)`.
    ///
    /// On the CPU the mask is a function of (seed, step, number of the call within the step), equal
    /// for any number of threads. `p` is used in steps of 2^-16. On GPUs Burn's generator draws
    /// the mask on the device: there, runs are not repeatable bit by bit.
    pub fn dropout<const D: usize>(&mut self, x: Tensor<D>, p: f64) -> Tensor<D> {
        let Noise::Seeded(counter) = self else {
            return x;
        };
        if p <= 0.0 {
            return x;
        }
        let site = counter.site;
        counter.site += 1;
        let device = x.device();
        let mask = if device::is_cpu(&device) {
            let shape = x.shape();
            let values = mask(mix(counter.key.wrapping_add(site)), shape.num_elements(), p);
            // The mask is a constant: kept out of the autodiff graph.
            Tensor::from_data(TensorData::new(values, shape), &device)
        } else {
            let keep = 1.0 - p;
            Tensor::random(x.shape(), Distribution::Bernoulli(keep), &device).div_scalar(keep)
        };
        x * mask
    }
}

/// `n` factors, each 0 with probability `p` and `1 / (1 - p)` otherwise.
fn mask(key: u64, n: usize, p: f64) -> Vec<f32> {
    // Two 16-bit lanes come out of each hash; a lane below the threshold is dropped. The scale is
    // that of the rounded probability, so that the expectation stays exact.
    let threshold = ((p * 65536.0).round() as u32).min(65535);
    let scale = 65536.0 / (65536 - threshold) as f32;
    let mut values = vec![0f32; n];
    values
        .par_chunks_mut(PIECE)
        .enumerate()
        .for_each(|(piece, chunk)| fill(chunk, key, (piece * PIECE / 2) as u32, threshold, scale));
    values
}

/// Fills one piece from the hashes that start at `counter`.
fn fill(chunk: &mut [f32], key: u64, counter: u32, threshold: u32, scale: f32) {
    #[inline(always)]
    fn run(chunk: &mut [f32], key: u64, mut counter: u32, threshold: u32, scale: f32) {
        let pick = |lane: u32| if lane < threshold { 0.0 } else { scale };
        // In blocks of two rows, one for each lane, so that compilers see plain vector code.
        let (blocks, rest) = chunk.as_chunks_mut::<{ 2 * ROW }>();
        let mut bits = [0u32; ROW];
        for block in blocks {
            for (i, bits) in bits.iter_mut().enumerate() {
                *bits = hash(counter.wrapping_add(i as u32), key);
            }
            let (low, high) = block.split_at_mut(ROW);
            low.iter_mut().zip(&bits).for_each(|(value, bits)| *value = pick(bits & 0xffff));
            high.iter_mut().zip(&bits).for_each(|(value, bits)| *value = pick(bits >> 16));
            counter = counter.wrapping_add(ROW as u32);
        }
        for (i, value) in rest.iter_mut().enumerate() {
            *value = pick(hash(counter.wrapping_add(i as u32), key) & 0xffff);
        }
    }
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn wide(chunk: &mut [f32], key: u64, counter: u32, threshold: u32, scale: f32) {
            run(chunk, key, counter, threshold, scale);
        }
        // SAFETY: the processor has AVX2.
        return unsafe { wide(chunk, key, counter, threshold, scale) };
    }
    run(chunk, key, counter, threshold, scale);
}

/// Hashes per block of [`fill`].
const ROW: usize = 32;

/// MurmurHash3's 32-bit finalizer over a counter, with half of the key before and half within.
#[inline(always)]
fn hash(counter: u32, key: u64) -> u32 {
    let h = counter.wrapping_mul(0x9e37_79b9).wrapping_add(key as u32);
    let h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b) ^ (key >> 32) as u32;
    let h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
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
    use burn::tensor::Device;

    fn ones(n: usize) -> Tensor<2> {
        Tensor::ones([n, 8], &Device::flex())
    }

    fn values(x: Tensor<2>) -> Vec<f32> {
        x.into_data().try_to_vec().expect("f32 on the CPU")
    }

    #[test]
    fn off_and_zero_probability_change_nothing() {
        assert_eq!(values(Noise::Off.dropout(ones(3), 0.5)), vec![1.0; 24]);
        assert_eq!(values(Noise::step(1, 1).dropout(ones(3), 0.0)), vec![1.0; 24]);
    }

    #[test]
    fn drops_the_asked_share_and_keeps_the_expectation() {
        for p in [0.1, 0.5, 0.9] {
            let out = values(Noise::step(7, 3).dropout(ones(40_000), p));
            let dropped = out.iter().filter(|v| **v == 0.0).count() as f64 / out.len() as f64;
            let mean = out.iter().map(|v| *v as f64).sum::<f64>() / out.len() as f64;
            assert!((dropped - p).abs() < 0.004, "p {p}: dropped {dropped}");
            assert!((mean - 1.0).abs() < 0.02, "p {p}: mean {mean}");
        }
    }

    #[test]
    fn same_seed_step_and_call_give_the_same_mask_whatever_the_threads() {
        let n = 3 * PIECE + 5;
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool");
        assert_eq!(one.install(|| mask(9, n, 0.1)), three.install(|| mask(9, n, 0.1)));

        let first = values(Noise::step(5, 2).dropout(ones(100), 0.3));
        assert_eq!(first, values(Noise::step(5, 2).dropout(ones(100), 0.3)));
    }

    #[test]
    fn seeds_steps_and_calls_give_different_masks() {
        let mut noise = Noise::step(5, 2);
        let first = values(noise.dropout(ones(100), 0.3));
        let second = values(noise.dropout(ones(100), 0.3));
        let other_step = values(Noise::step(5, 3).dropout(ones(100), 0.3));
        let other_seed = values(Noise::step(6, 2).dropout(ones(100), 0.3));
        assert!(first != second && first != other_step && first != other_seed);
    }

    #[test]
    fn lanes_of_a_hash_are_uncorrelated() {
        let mask = mask(mix(3), 1 << 18, 0.5);
        let pairs = mask.chunks_exact(2 * ROW).flat_map(|block| (0..ROW).map(|i| block[i] == block[i + ROW]));
        let agree = pairs.filter(|same| *same).count() as f64 / (1 << 17) as f64;
        assert!((agree - 0.5).abs() < 0.006, "agreement {agree}");
        let next = mask.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64 / mask.len() as f64;
        assert!((next - 0.5).abs() < 0.005, "agreement of neighbours {next}");
    }

    #[test]
    fn neighbouring_masks_are_uncorrelated() {
        // Agreement of two independent masks at p = 0.5 is 0.5.
        let (a, b) = (mask(mix(11), 1 << 18, 0.5), mask(mix(12), 1 << 18, 0.5));
        let agree = a.iter().zip(&b).filter(|(x, y)| x == y).count() as f64 / a.len() as f64;
        assert!((agree - 0.5).abs() < 0.005, "agreement {agree}");
    }
}
