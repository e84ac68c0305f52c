//! The inner loops: multiply a few rows of activations by a panel of weights, with 32-bit sums.

use std::mem::MaybeUninit;

use super::path::Path;

/// Columns of a panel: two registers of 16 sums.
pub(super) const PANEL: usize = 32;
/// Bytes along the inner axis that one instruction multiplies and adds.
pub(super) const GROUP: usize = 4;
/// Rows of the largest tile: with two registers per row, its sums take 24 of the 32 AVX-512 registers.
pub(super) const ROWS: usize = 12;

/// The sums of a tile, row by row.
type Sums = [[i32; PANEL]; ROWS];

/// Rows of activations, `stride` bytes apart.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    pub bytes: &'a [u8],
    pub stride: usize,
    /// The scale of each row; `zeros` likewise.
    pub scales: &'a [f32],
    pub zeros: &'a [i32],
}

/// A panel of weights, with the factors and offsets that convert its integer sums to floats.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub bytes: &'a [i8],
    pub scales: &'a [f32; PANEL],
    pub sums: &'a [i32; PANEL],
    pub bias: &'a [f32; PANEL],
}

/// The output of a tile: one row for each row of activations.
pub(super) type Rows<'a> = [&'a mut [MaybeUninit<f32>]];

/// `y[r][o] = scale[r] · scale[o] · Σᵢ (a[r, i] − zero[r]) · w[i, o] + bias[o]` for at most [`ROWS`] rows; each row of `y`
/// is as long as the panel or shorter.
pub(super) fn multiply(path: Path, a: Bytes, w: Panel, y: &mut Rows) {
    let (count, steps) = (a.scales.len(), w.bytes.len() / (PANEL * GROUP));
    // The unsafe loops below rely on these bounds.
    assert!(count <= ROWS && (count == 0 || (count - 1) * a.stride + steps * GROUP <= a.bytes.len()));
    assert!(a.zeros.len() == count && y.len() == count);
    match path {
        Path::Portable => portable(a, w, y),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor supports the path, and the asserts above check the sizes.
        Path::Avx2 => unsafe { x86::avx2(a, w, y) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Path::Avx512Vnni => unsafe { x86::avx512(a, w, y) },
    }
}

/// Converts the sums to floats. It uses no fused multiply-add, so that every path gives the same bits.
#[inline(always)]
fn finish(sums: &Sums, a: Bytes, w: Panel, y: &mut Rows) {
    for (row, y) in y.iter_mut().enumerate() {
        let (sums, scale, zero) = (&sums[row], a.scales[row], a.zeros[row]);
        let value = |i: usize| (sums[i] - zero * w.sums[i]) as f32 * (scale * w.scales[i]) + w.bias[i];
        match <&mut [MaybeUninit<f32>; PANEL]>::try_from(&mut **y) {
            // The length is known at compile time, so the compiler uses whole registers.
            Ok(y) => y.iter_mut().enumerate().for_each(|(i, y)| *y = MaybeUninit::new(value(i))),
            Err(_) => y.iter_mut().enumerate().for_each(|(i, y)| *y = MaybeUninit::new(value(i))),
        }
    }
}

fn portable(a: Bytes, w: Panel, y: &mut Rows) {
    let mut all: Sums = [[0; PANEL]; ROWS];
    for (row, sums) in all.iter_mut().take(y.len()).enumerate() {
        let groups = a.bytes[row * a.stride..].as_chunks::<GROUP>().0;
        for (a, w) in groups.iter().zip(w.bytes.as_chunks::<{ PANEL * GROUP }>().0) {
            let a = a.map(i32::from);
            for (sum, w) in sums.iter_mut().zip(w.as_chunks::<GROUP>().0) {
                let w = w.map(i32::from);
                *sum += a[0] * w[0] + a[1] * w[1] + a[2] * w[2] + a[3] * w[3];
            }
        }
    }
    finish(&all, a, w, y);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Bytes, GROUP, PANEL, Panel, ROWS, Rows, Sums, finish};

    /// A kernel for a fixed number of rows.
    type Vnni = unsafe fn(Bytes, Panel, &mut Rows);

    /// Kernels for 1, 2, … rows: each keeps every sum of its tile in a register.
    const VNNI: [Vnni; ROWS] = [
        vnni::<1>, vnni::<2>, vnni::<3>, vnni::<4>, vnni::<5>, vnni::<6>, vnni::<7>, vnni::<8>, vnni::<9>, vnni::<10>,
        vnni::<11>, vnni::<12>,
    ];

    /// # Safety
    /// The processor must support the features. `a` must have as many rows as `y`, each with as many groups as `w`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) unsafe fn avx512(a: Bytes, w: Panel, y: &mut Rows) {
        if let Some(tile) = y.len().checked_sub(1).and_then(|at| VNNI.get(at)) {
            // SAFETY: the caller's promise.
            unsafe { tile(a, w, y) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn vnni<const R: usize>(a: Bytes, w: Panel, y: &mut Rows) {
        let mut acc = [[_mm512_setzero_si512(); 2]; R];
        let (start, weights) = (a.bytes.as_ptr(), w.bytes.as_ptr());
        // SAFETY: the caller's promise.
        unsafe {
            for step in 0..w.bytes.len() / (PANEL * GROUP) {
                let at = weights.add(step * PANEL * GROUP);
                let (w0, w1) = (_mm512_loadu_si512(at.cast()), _mm512_loadu_si512(at.add(64).cast()));
                for (row, acc) in acc.iter_mut().enumerate() {
                    let group = start.add(row * a.stride + step * GROUP).cast::<i32>().read_unaligned();
                    let group = _mm512_set1_epi32(group);
                    acc[0] = _mm512_dpbusd_epi32(acc[0], group, w0);
                    acc[1] = _mm512_dpbusd_epi32(acc[1], group, w1);
                }
            }
            // The same computation as `finish`, from registers.
            for half in 0..2 {
                let scales = _mm512_loadu_ps(w.scales.as_ptr().add(16 * half));
                let sums = _mm512_loadu_si512(w.sums.as_ptr().add(16 * half).cast());
                let bias = _mm512_loadu_ps(w.bias.as_ptr().add(16 * half));
                for (row, (y, acc)) in y.iter_mut().zip(&acc).enumerate() {
                    let shift = _mm512_mullo_epi32(_mm512_set1_epi32(a.zeros[row]), sums);
                    let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(acc[half], shift));
                    let scale = _mm512_mul_ps(_mm512_set1_ps(a.scales[row]), scales);
                    let value = _mm512_add_ps(_mm512_mul_ps(sum, scale), bias);
                    let within = y.len().saturating_sub(16 * half).min(16);
                    let mask = ((1u32 << within) - 1) as u16;
                    _mm512_mask_storeu_ps(y.as_mut_ptr().wrapping_add(16 * half).cast(), mask, value);
                }
            }
        }
    }

    /// # Safety
    /// As [`avx512`].
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2(a: Bytes, w: Panel, y: &mut Rows) {
        let mut sums: Sums = [[0; PANEL]; ROWS];
        // SAFETY: each part reads only rows of `a`.
        unsafe {
            let mut row = 0;
            while row < y.len() {
                let at = a.bytes.as_ptr().add(row * a.stride);
                row += match y.len() - row {
                    4.. => words::<4>(at, a.stride, w.bytes, &mut sums[row..]),
                    _ => words::<1>(at, a.stride, w.bytes, &mut sums[row..]),
                };
            }
        }
        finish(&sums, a, w, y);
    }

    /// A register holds the products of four outputs, each as two partial sums that are added at the end.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn words<const R: usize>(a: *const u8, stride: usize, w: &[i8], sums: &mut [[i32; PANEL]]) -> usize {
        let steps = w.len() / (PANEL * GROUP);
        for part in (0..PANEL).step_by(8) {
            let mut acc = [[_mm256_setzero_si256(); 2]; R];
            // SAFETY: the caller's promise.
            unsafe {
                let w = w.as_ptr().add(part * GROUP);
                for step in 0..steps {
                    let at = w.add(step * PANEL * GROUP).cast::<__m128i>();
                    let w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128(at));
                    let w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128(at.add(1)));
                    for (row, acc) in acc.iter_mut().enumerate() {
                        let group = a.add(row * stride + step * GROUP).cast::<i32>().read_unaligned();
                        let group = _mm256_cvtepu8_epi16(_mm_set1_epi32(group));
                        acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(group, w0));
                        acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(group, w1));
                    }
                }
                for (acc, sums) in acc.iter().zip(sums.iter_mut()) {
                    // Pairs of each half, in the order 0 1 4 5 2 3 6 7.
                    let pairs = _mm256_hadd_epi32(acc[0], acc[1]);
                    let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs);
                    _mm256_storeu_si256(sums.as_mut_ptr().add(part).cast(), ordered);
                }
            }
        }
        R
    }
}
