//! Rounds activations to integers, each row with its own scale and zero point.

use rayon::prelude::*;

use super::tile::Bytes;
use crate::compute::kernel::vectorized;

/// How to round activations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rounding {
    /// 8 bits over the range of each row, computed at each call.
    Token8,
    /// 16 bits over the range of each row, as two products of bytes: for layers whose inputs have outliers.
    Token16,
    /// 8 bits over one calibrated range for all rows; values outside it are clipped.
    Fixed(Range),
}

/// `x` `[N, in]` ≈ `scale[n] · (q[n, i] − zero[n])` with `q` in 0..=255.
///
/// The range of a row spans its values and zero, so a token with large values costs the other tokens no precision. The
/// range is asymmetric, because almost all outputs of GELU are on one side of zero.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    inputs: usize,
    /// Bytes from one row to the next.
    stride: usize,
    bytes: Vec<u8>,
    scales: Vec<f32>,
    zeros: Vec<i32>,
}

/// Values per parallel piece: enough work to outweigh the start of another thread.
const PIECE: usize = 1 << 16;
/// Values scanned at once, one per vector lane.
const LANES: usize = 16;

impl Rows {
    /// Rounds the rows of `x` `[N, inputs]` to 8 bits.
    pub(crate) fn new(x: &[f32], inputs: usize, range: impl Fn(&[f32]) -> Range + Sync) -> Self {
        let mut rows = Rows::zeros(x, inputs);
        let (step, stride) = (rows.step(), rows.stride);
        let params = rows.scales.par_chunks_mut(step).zip(rows.zeros.par_chunks_mut(step));
        let pieces = rows.bytes.par_chunks_mut(step * stride).zip(x.par_chunks(step * inputs.max(1)));
        pieces.zip(params).for_each(|((bytes, x), (scales, zeros))| {
            let rows = bytes.chunks_exact_mut(stride).zip(x.chunks_exact(inputs));
            for ((bytes, x), (scale, zero)) in rows.zip(scales.iter_mut().zip(zeros)) {
                let grid = range(x).grid(255.0);
                grid.each(x, &mut bytes[..inputs], |q, byte| *byte = q as u8);
                (*scale, *zero) = (grid.scale, grid.zero as i32);
            }
        });
        rows
    }

    /// Rounds the rows of `x` `[N, inputs]` to 16 bits and returns their high and low bytes; the products of both must be added.
    pub(crate) fn new16(x: &[f32], inputs: usize) -> [Self; 2] {
        let (mut high, mut low) = (Rows::zeros(x, inputs), Rows::zeros(x, inputs));
        let step = high.step();
        let params = high.scales.par_iter_mut().zip(&mut high.zeros).zip(low.scales.par_iter_mut().zip(&mut low.zeros));
        let bytes = high.bytes.par_chunks_exact_mut(high.stride).zip(low.bytes.par_chunks_exact_mut(low.stride));
        let rows = bytes.zip(params).zip(x.par_chunks_exact(inputs.max(1))).with_min_len(step);
        rows.for_each(|(((highs, lows), (high, low)), x)| {
            let grid = Range::of(x).grid(65535.0);
            grid.each(x, &mut highs[..inputs], |q, byte| *byte = (q >> 8) as u8);
            grid.each(x, &mut lows[..inputs], |q, byte| *byte = q as u8);
            let zero = grid.zero as i32;
            (*high.0, *high.1) = (grid.scale * 256.0, zero >> 8);
            (*low.0, *low.1) = (grid.scale, zero & 255);
        });
        [high, low]
    }

    fn zeros(x: &[f32], inputs: usize) -> Self {
        let count = x.len().checked_div(inputs).unwrap_or(0);
        // One cache line more than needed: rows at distances of a power of two would compete for the same cache sets.
        let stride = inputs.next_multiple_of(64) + 64;
        Rows { inputs, stride, bytes: vec![0; count * stride], scales: vec![0.0; count], zeros: vec![0; count] }
    }

    /// Rows per parallel piece.
    fn step(&self) -> usize {
        PIECE.div_ceil(self.inputs.max(1))
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.scales.len()
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// At most `count` rows, starting at `first`.
    pub(super) fn some(&self, first: usize, count: usize) -> Bytes<'_> {
        let end = self.len().min(first + count);
        Bytes {
            bytes: &self.bytes[first * self.stride..end * self.stride],
            stride: self.stride,
            scales: &self.scales[first..end],
            zeros: &self.zeros[first..end],
        }
    }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Reduces all lanes with `join`, half by half.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = join(lanes[i], lanes[i + half]);
        }
    }
    lanes[0]
}

/// The smallest and the largest of a set of values and zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    pub low: f32,
    pub high: f32,
}

impl Range {
    /// The range of the values; infinite if one of them is not finite.
    pub fn of(x: &[f32]) -> Self {
        vectorized(
            #[inline(always)]
            || Self::scan(x),
        )
    }

    #[inline(always)]
    fn scan(x: &[f32]) -> Self {
        let (mut low, mut high, mut bad) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
        let (chunks, rest) = x.as_chunks::<LANES>();
        // Update one array at a time: the compiler then keeps each in a register.
        for chunk in chunks {
            low.iter_mut().zip(chunk).for_each(|(low, v)| *low = smaller(*v, *low));
            high.iter_mut().zip(chunk).for_each(|(high, v)| *high = larger(*v, *high));
            bad.iter_mut().zip(chunk).for_each(|(bad, v)| *bad += v * 0.0); // NaN once a value is infinite or NaN.
        }
        for (lane, v) in rest.iter().enumerate() {
            low[lane] = smaller(*v, low[lane]);
            high[lane] = larger(*v, high[lane]);
            bad[lane] += v * 0.0;
        }
        if fold(bad, |a, b| a + b).is_nan() {
            return Range { low: f32::NEG_INFINITY, high: f32::INFINITY };
        }
        Range { low: fold(low, smaller), high: fold(high, larger) }
    }

    pub fn is_finite(self) -> bool {
        (self.high - self.low).is_finite()
    }

    /// The smallest range that contains both.
    pub fn and(self, other: Self) -> Self {
        Range { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// Divides the range into `steps`.
    fn grid(self, steps: f32) -> Grid {
        let width = self.high - self.low;
        let inverse = steps / width;
        match (width.is_finite(), inverse.is_finite()) {
            // Some values are not finite: a NaN scale makes the results NaN.
            (false, _) => Grid { scale: f32::NAN, inverse: 0.0, zero: 0.0, steps },
            // All values are zero, or too small for a finite inverse.
            (true, false) => Grid { scale: 0.0, inverse: 0.0, zero: 0.0, steps },
            (true, true) => Grid { scale: width / steps, inverse, zero: nearest(-self.low * inverse), steps },
        }
    }
}

/// `x ≈ scale · (q − zero)` with `q` in 0..=steps.
#[derive(Debug, Clone, Copy)]
struct Grid {
    scale: f32,
    /// `1 / scale`.
    inverse: f32,
    zero: f32,
    steps: f32,
}

/// Adding 1.5 · 2^23 leaves the rounded number in the lowest bits of the mantissa.
const ROUND: f32 = 12_582_912.0;

/// Rounds to the nearest integer, ties to even; valid for values far below 2^22.
#[inline(always)]
fn nearest(x: f32) -> f32 {
    x + ROUND - ROUND
}

impl Grid {
    /// Rounds a row.
    fn each(self, x: &[f32], out: &mut [u8], put: impl Fn(u32, &mut u8)) {
        vectorized(
            #[inline(always)]
            || {
                for (out, x) in out.iter_mut().zip(x) {
                    let q = x * self.inverse + self.zero;
                    // NaN becomes zero here; the NaN scale carries it to the result.
                    let q = if q > 0.0 { q } else { 0.0 };
                    let q = if q < self.steps { q } else { self.steps };
                    put((q + ROUND).to_bits() & 0xffff, out);
                }
            },
        );
    }
}
