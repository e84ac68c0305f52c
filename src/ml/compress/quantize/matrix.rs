//! Encodes a tensor in fewer bits.

use anyhow::{Result, ensure};
use rayon::prelude::*;
use safetensors::Dtype;

use crate::compute::int4;
use crate::compute::int8::Range;
use crate::compute::kernel::{sum_by, vectorized};
use crate::files::host::HostTensor;
use crate::files::weights::Encoded;
use crate::files::weights::header::{INPUT_SCALE, INPUT_ZERO};
use crate::model::names::WEIGHT;

/// Name of the scales of a layer's weight; the names below are for its packed integers and its shape.
const SCALE: &str = "weight_scale";
const PACKED: &str = "weight_packed";
const SHAPE: &str = "weight_shape";

/// A tensor as the file stores it.
pub(super) struct Stored {
    /// Number of values.
    pub size: usize,
    values: Encoded,
    /// The name of the values, in place of `weight`.
    field: &'static str,
    /// The other tensors of an integer matrix, by the suffix that is appended to the layer's name.
    beside: Vec<(&'static str, Encoded)>,
    /// ‖stored − original‖ / ‖original‖; `None` if it is stored unchanged.
    pub relative_error: Option<f64>,
}

impl Stored {
    /// All tensors of the file that together represent the tensor `name`.
    pub(super) fn named(&self, name: &str) -> Vec<(String, &Encoded)> {
        let Some(layer) = name.strip_suffix(WEIGHT) else { return vec![(name.to_owned(), &self.values)] };
        let fields = [(self.field, &self.values)].into_iter().chain(self.beside.iter().map(|(field, e)| (*field, e)));
        fields.map(|(field, encoded)| (format!("{layer}.{field}"), encoded)).collect()
    }

    fn plain(values: Encoded, relative_error: Option<f64>) -> Self {
        let size = values.shape.iter().product();
        Stored { size, values, field: &WEIGHT[1..], beside: Vec::new(), relative_error }
    }
}

pub(super) fn f32(tensor: &HostTensor) -> Stored {
    Stored::plain(Encoded::f32(tensor), None)
}

pub(super) fn fp16(name: &str, tensor: &HostTensor) -> Result<Stored> {
    let largest = tensor.data.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    ensure!(largest <= 65504.0, "tensor {name} contains ±{largest}, more than fp16's 65504");
    let back = tensor.data.iter().map(|v| half::f16::from_f32(*v).to_f32());
    let relative_error = Some(relative_error(&tensor.data, back));
    Ok(Stored::plain(Encoded::f16(tensor), relative_error))
}

pub(super) fn bf16(tensor: &HostTensor) -> Stored {
    let back = tensor.data.iter().map(|v| half::bf16::from_f32(*v).to_f32());
    let relative_error = Some(relative_error(&tensor.data, back));
    Stored::plain(Encoded::bf16(tensor), relative_error)
}

/// A matrix as 8-bit integers; `range` is the fixed range of its inputs, if there is one.
pub(super) fn int8(tensor: &HostTensor, range: Option<Range>) -> Stored {
    let width = tensor.shape[1];
    let (integers, scales) = rounded(tensor);
    let back = integers.iter().enumerate().map(|(i, q)| f32::from(*q) * scales[i / width]);
    let relative_error = Some(relative_error(&tensor.data, back));
    let scale = Encoded::f32(&HostTensor { shape: vec![tensor.shape[0], 1], data: scales });
    let mut beside = vec![(SCALE, scale)];
    if let Some(range) = range {
        let scale = ((range.high - range.low) / 255.0).max(f32::MIN_POSITIVE);
        let zero = (-128.0 - range.low / scale).round_ties_even() as i8;
        beside.push((INPUT_SCALE, Encoded::f32(&HostTensor { shape: vec![1], data: vec![scale] })));
        beside.push((INPUT_ZERO, Encoded { dtype: Dtype::I8, shape: vec![1], bytes: vec![zero as u8] }));
    }
    let bytes = integers.into_iter().map(|q| q as u8).collect();
    let values = Encoded { dtype: Dtype::I8, shape: tensor.shape.clone(), bytes };
    Stored { beside, ..Stored::plain(values, relative_error) }
}

/// A matrix as 4-bit integers with a scale per `group` of inputs. The group size must divide the inputs.
pub(super) fn int4(tensor: &HostTensor, group: usize) -> Stored {
    let (integers, scales) = grouped(tensor, group);
    let back = integers.iter().enumerate().map(|(i, q)| f32::from(*q) * scales[i / group]);
    let relative_error = Some(relative_error(&tensor.data, back));
    let (rows, columns) = (tensor.shape[0], tensor.shape[1]);
    let scales = HostTensor { shape: vec![rows, columns / group], data: scales };
    // Store scales in 16 bits if that is exact for all of them.
    let halves = scales.data.iter().all(|scale| half::f16::from_f32(*scale).to_f32() == *scale);
    let scales = if halves { Encoded::f16(&scales) } else { Encoded::f32(&scales) };
    let shape = [rows, columns].iter().flat_map(|size| (*size as i64).to_le_bytes()).collect();
    let shape = Encoded { dtype: Dtype::I64, shape: vec![2], bytes: shape };
    let (shape_of_words, bytes) = (vec![rows, columns / 8], int4::Weight::pack(&integers));
    let values = Encoded { dtype: Dtype::I32, shape: shape_of_words, bytes };
    let beside = vec![(SCALE, scales), (SHAPE, shape)];
    Stored { size: tensor.data.len(), values, field: PACKED, beside, relative_error }
}

/// Whether f16 represents each scale with full precision, or as zero.
fn fits_halves(scales: &[f32]) -> bool {
    let smallest = half::f16::MIN_POSITIVE.to_f32();
    scales.iter().all(|scale| *scale == 0.0 || (smallest..=65504.0).contains(scale))
}

/// The integers within −8..=7 and the scale of each group. Of the scales tried, this takes the one with the smallest
/// squared difference.
pub(super) fn grouped(tensor: &HostTensor, group: usize) -> (Vec<i8>, Vec<f32>) {
    let largest = |values: &[f32]| values.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    let steps: Vec<f32> = tensor.data.chunks_exact(group).map(|values| largest(values) / 7.0).collect();
    // Rounding must use the scale that is stored.
    let halves = fits_halves(&steps.iter().map(|step| step * SMALLEST).collect::<Vec<_>>());
    let stored = |scale: f32| if halves { half::f16::from_f32(scale).to_f32() } else { scale };
    let best = |(values, step): (&[f32], f32)| {
        let tried = (0..=TRIED).map(|i| stored(step * (1.0 - (1.0 - SMALLEST) * i as f32 / TRIED as f32)));
        let tried = tried.map(|scale| (squared_difference(values, scale), scale));
        let best = tried.min_by(|(a, _), (b, _)| a.total_cmp(b));
        best.map(|(_, scale)| scale).filter(|scale| *scale > 0.0).unwrap_or(1.0)
    };
    let scales: Vec<f32> = tensor.data.par_chunks_exact(group).zip(steps).map(best).collect();
    let integers = tensor.data.iter().enumerate().map(|(i, v)| nearest(v / scales[i / group]) as i8).collect();
    (integers, scales)
}

/// Number of scales to try besides that of the largest weight, and the smallest of them relative to that scale.
const TRIED: usize = 20;
const SMALLEST: f32 = 0.7;

/// Σ (v − stored v)²
fn squared_difference(values: &[f32], scale: f32) -> f32 {
    vectorized(
        #[inline(always)]
        || sum_by(values, |v| (v - scale * nearest(v / scale)) * (v - scale * nearest(v / scale))),
    )
}

/// The nearest 4-bit integer; a tie goes to the even one.
#[inline(always)]
fn nearest(x: f32) -> f32 {
    x.round_ties_even().clamp(-8.0, 7.0)
}

/// The integers within ±127 and the scale of each row of a matrix.
pub(super) fn rounded(tensor: &HostTensor) -> (Vec<i8>, Vec<f32>) {
    let mut scales = Vec::with_capacity(tensor.shape[0]);
    let mut integers = Vec::with_capacity(tensor.data.len());
    for row in tensor.data.chunks_exact(tensor.shape[1].max(1)) {
        let largest = row.iter().fold(0f32, |largest, v| largest.max(v.abs()));
        // A row of zeros (padding) has no largest weight; any scale restores its zeros.
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        scales.push(scale);
        integers.extend(row.iter().map(|v| (v / scale).round_ties_even().clamp(-127.0, 127.0) as i8));
    }
    (integers, scales)
}

fn relative_error(original: &[f32], stored: impl Iterator<Item = f32>) -> f64 {
    let (mut difference, mut norm) = (0f64, 0f64);
    for (a, b) in original.iter().zip(stored) {
        difference += f64::from(a - b).powi(2);
        norm += f64::from(*a).powi(2);
    }
    if norm == 0.0 { 0.0 } else { (difference / norm).sqrt() }
}
