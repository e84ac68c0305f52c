//! Weights stored as 4-bit integers, multiplied with float activations.
//!
//! A product unpacks only the columns that it needs next into floats, so that they stay in the processor's cache.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::kernel::matmul::{Matrix, Target, matmul_here};
use super::kernel::vectorized;

/// Integers are within `-HALF..HALF`; they are stored with `HALF` added.
pub(crate) const HALF: i8 = 8;
/// Columns that one thread unpacks at a time: with 768 inputs they take 300 kB as floats.
const COLUMNS: usize = 96;

/// `W` `[out, in]` ≈ `scale[o, i / group] · q[o, i]`, symmetric per group of inputs.
#[derive(Debug, Clone)]
pub struct Weight {
    outputs: usize,
    inputs: usize,
    group: usize,
    /// Row by row, two integers per byte, the first in the lower half.
    nibbles: Vec<u8>,
    /// `[out, in / group]`
    scales: Vec<f32>,
}

impl Weight {
    /// From the packed rows, two integers per byte, and one scale per group. `inputs` must be a multiple of the group
    /// size, and the group size even.
    pub fn new(nibbles: Vec<u8>, scales: Vec<f32>, inputs: usize) -> Self {
        let size = 2 * nibbles.len();
        let (outputs, group) = (size / inputs.max(1), size / scales.len().max(1));
        assert!(group.is_multiple_of(2) && group > 0 && inputs.is_multiple_of(group), "groups of {group} for {inputs}");
        assert!(outputs * inputs == size && scales.len() * group == size, "{outputs} × {inputs} in groups of {group}");
        Weight { outputs, inputs, group, nibbles, scales }
    }

    /// Pack integers within `-HALF..HALF`; their number must be even.
    pub fn pack(integers: &[i8]) -> Vec<u8> {
        let nibble = |q: i8| (q + HALF) as u8 & 15;
        integers.as_chunks::<2>().0.iter().map(|[a, b]| nibble(*a) | nibble(*b) << 4).collect()
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// `x` `[N, in]`, `bias` `[out]` → `[N, out]`.
    pub fn forward(&self, x: &[f32], bias: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let rows = x.len() / inputs;
        assert!(bias.len() == outputs && x.len() == rows * inputs, "{} × {outputs} with {}", inputs, x.len());
        if rows == 0 {
            return Vec::new();
        }
        let mut y: Vec<f32> = Vec::with_capacity(rows * outputs);
        let out = Output(y.spare_capacity_mut().as_mut_ptr());
        (0..outputs.div_ceil(COLUMNS)).into_par_iter().for_each_init(Vec::new, |floats, block| {
            let columns = block * COLUMNS..outputs.min((block + 1) * COLUMNS);
            floats.resize(columns.len() * inputs, 0f32);
            self.unpack(columns.start, floats);
            let weight = Matrix::new(floats, columns.len(), inputs).transposed();
            // SAFETY: only this task writes these columns, and they lie within the result.
            unsafe {
                let target = Target::strided(out.at(columns.start), rows, columns.len(), outputs);
                matmul_here(Matrix::new(x, rows, inputs), weight, target, 1.0);
                for row in 0..rows {
                    let y = std::slice::from_raw_parts_mut(out.at(row * outputs + columns.start), columns.len());
                    vectorized(|| y.iter_mut().zip(&bias[columns.clone()]).for_each(|(y, bias)| *y += bias));
                }
            }
        });
        // SAFETY: the tasks wrote all columns.
        unsafe { y.set_len(rows * outputs) };
        y
    }

    /// Unpack the rows of `W` from `first` on, as many as `floats` `[rows, in]` holds.
    fn unpack(&self, first: usize, floats: &mut [f32]) {
        let nibbles = &self.nibbles[first * self.inputs / 2..];
        let scales = &self.scales[first * self.inputs / self.group..];
        vectorized(
            #[inline(always)]
            || {
                let groups = floats.chunks_exact_mut(self.group).zip(nibbles.chunks_exact(self.group / 2));
                for ((floats, nibbles), scale) in groups.zip(scales) {
                    for (pair, byte) in floats.as_chunks_mut::<2>().0.iter_mut().zip(nibbles) {
                        let number = |nibble: u8| (i32::from(nibble) - i32::from(HALF)) as f32 * scale;
                        *pair = [number(byte & 15), number(byte >> 4)];
                    }
                }
            },
        );
    }

    /// The rounded weights as floats, `[in, out]`.
    pub fn to_floats(&self) -> Vec<f32> {
        let mut rows = vec![0f32; self.outputs * self.inputs];
        self.unpack(0, &mut rows);
        let mut floats = vec![0f32; rows.len()];
        for (output, row) in rows.chunks_exact(self.inputs.max(1)).enumerate() {
            row.iter().enumerate().for_each(|(input, w)| floats[input * self.outputs + output] = *w);
        }
        floats
    }

    /// Number of weights that are not zero.
    pub fn non_zero(&self) -> usize {
        let groups = self.nibbles.chunks_exact(self.group / 2).zip(&self.scales).filter(|(_, scale)| **scale != 0.0);
        let is_weight = |nibble: u8| usize::from(nibble != HALF as u8);
        groups.flat_map(|(nibbles, _)| nibbles).map(|byte| is_weight(byte & 15) + is_weight(byte >> 4)).sum()
    }
}

/// The result; each task writes its own columns of it.
struct Output(*mut MaybeUninit<f32>);

// SAFETY: the columns that tasks write do not overlap.
unsafe impl Sync for Output {}

impl Output {
    /// # Safety
    /// `at` is within the result.
    unsafe fn at(&self, at: usize) -> *mut f32 {
        // SAFETY: the caller guarantees that `at` is within the result.
        unsafe { self.0.add(at).cast() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(outputs: usize, inputs: usize, group: usize) -> (Weight, Vec<i8>, Vec<f32>) {
        let integers: Vec<i8> = (0..outputs * inputs).map(|i| ((i * 7) % 16) as i8 - HALF).collect();
        let scales: Vec<f32> = (0..integers.len() / group).map(|i| 0.01 * ((i * 5) % 7) as f32).collect();
        (Weight::new(Weight::pack(&integers), scales.clone(), inputs), integers, scales)
    }

    #[test]
    fn products_are_those_of_the_unpacked_weights() {
        for (rows, inputs, outputs, group) in [(1, 8, 1, 8), (3, 64, 33, 32), (17, 96, COLUMNS + 5, 24), (0, 16, 4, 8)]
        {
            let (w, integers, scales) = weight(outputs, inputs, group);
            let x: Vec<f32> = (0..rows * inputs).map(|i| ((i * 13) % 29) as f32 * 0.1 - 1.4).collect();
            let bias: Vec<f32> = (0..outputs).map(|i| i as f32).collect();
            let y = w.forward(&x, &bias);
            assert_eq!(y.len(), rows * outputs);
            for (row, y) in x.chunks_exact(inputs).zip(y.chunks_exact(outputs)) {
                for (o, y) in y.iter().enumerate() {
                    let term = |i: usize| {
                        let at = o * inputs + i;
                        f64::from(row[i]) * f64::from(integers[at]) * f64::from(scales[at / group])
                    };
                    let exact: f64 = (0..inputs).map(term).sum::<f64>() + o as f64;
                    assert!((f64::from(*y) - exact).abs() < 1e-4, "{rows} × {inputs} × {outputs}: {y} {exact}");
                }
            }
        }
    }

    #[test]
    fn floats_are_the_transpose_and_zeros_are_counted() {
        let (w, integers, scales) = weight(5, 16, 8);
        let floats = w.to_floats();
        for (at, q) in integers.iter().enumerate() {
            assert_eq!(floats[at % 16 * 5 + at / 16], f32::from(*q) * scales[at / 8]);
        }
        assert_eq!(w.non_zero(), floats.iter().filter(|v| **v != 0.0).count());
    }
}
