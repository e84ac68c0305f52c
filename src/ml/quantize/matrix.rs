//! A tensor in fewer bits.

use anyhow::{Result, ensure};
use safetensors::Dtype;

use crate::ml::int8::Range;
use crate::ml::model::host::HostTensor;
use crate::ml::model::integer::WEIGHT;
use crate::ml::model::weights::Encoded;
use crate::ml::model::weights::header::{INPUT_SCALE, INPUT_ZERO};

/// What the scales of a layer's weight are called.
const SCALE: &str = "weight_scale";

/// A tensor as it goes into the file.
pub struct Stored {
    pub values: Encoded,
    /// Of an int8 matrix, by what is appended to the name of its layer.
    beside: Vec<(&'static str, Encoded)>,
    /// ‖stored − original‖ / ‖original‖; none where it is stored as it was.
    pub relative_error: Option<f64>,
}

impl Stored {
    /// All tensors of the file that stand for the tensor `name`.
    pub fn named(&self, name: &str) -> Vec<(String, &Encoded)> {
        let layer = name.strip_suffix(WEIGHT).unwrap_or(name);
        let beside = self.beside.iter().map(|(field, encoded)| (format!("{layer}.{field}"), encoded));
        [(name.to_owned(), &self.values)].into_iter().chain(beside).collect()
    }
}

pub fn f32(tensor: &HostTensor) -> Stored {
    Stored { values: Encoded::f32(tensor), beside: Vec::new(), relative_error: None }
}

pub fn fp16(name: &str, tensor: &HostTensor) -> Result<Stored> {
    let largest = tensor.data.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    ensure!(largest <= 65504.0, "tensor {name} holds ±{largest}, more than fp16's 65504");
    let back = tensor.data.iter().map(|v| half::f16::from_f32(*v).to_f32());
    let relative_error = Some(relative_error(&tensor.data, back));
    Ok(Stored { values: Encoded::f16(tensor), beside: Vec::new(), relative_error })
}

pub fn bf16(tensor: &HostTensor) -> Stored {
    let back = tensor.data.iter().map(|v| half::bf16::from_f32(*v).to_f32());
    let relative_error = Some(relative_error(&tensor.data, back));
    Stored { values: Encoded::bf16(tensor), beside: Vec::new(), relative_error }
}

/// A matrix as integers; `range` is that of its inputs, where it is fixed.
pub fn int8(tensor: &HostTensor, range: Option<Range>) -> Stored {
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
    Stored { values: Encoded { dtype: Dtype::I8, shape: tensor.shape.clone(), bytes }, beside, relative_error }
}

/// The integers within ±127 and the scale of each row of a matrix.
pub fn rounded(tensor: &HostTensor) -> (Vec<i8>, Vec<f32>) {
    let mut scales = Vec::with_capacity(tensor.shape[0]);
    let mut integers = Vec::with_capacity(tensor.data.len());
    for row in tensor.data.chunks_exact(tensor.shape[1].max(1)) {
        let largest = row.iter().fold(0f32, |largest, v| largest.max(v.abs()));
        // A row of zeros (padding) has no largest weight; any scale gives zeros back.
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
