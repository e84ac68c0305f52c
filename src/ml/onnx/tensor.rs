//! The tensors of an ONNX file: constants, and a model's weights, which are converted from its files.

use anyhow::{Result, bail, ensure};

use crate::files::host::Layout;
use crate::files::weights::pieces::PIECE;
use crate::files::weights::stored::Stored;

/// Number types, with their values in `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Float = 1,
    Int8 = 3,
    Int64 = 7,
    Bool = 9,
    Float16 = 10,
}

impl Type {
    pub fn bytes(self) -> u64 {
        match self {
            Type::Int8 | Type::Bool => 1,
            Type::Float16 => 2,
            Type::Float => 4,
            Type::Int64 => 8,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Type::Float => "float",
            Type::Int8 => "int8",
            Type::Int64 => "int64",
            Type::Bool => "bool",
            Type::Float16 => "float16",
        }
    }

    /// Encodes floats in this type, little-endian.
    pub fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Type::Float16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

/// A tensor of the file (`TensorProto`).
#[derive(Debug)]
pub(super) struct Tensor {
    pub name: String,
    pub content: Content,
}

impl Tensor {
    /// The name of the parameter that it holds.
    pub(super) fn parameter(&self) -> Option<&str> {
        match &self.content {
            Content::Weight { parameter, .. } => Some(parameter),
            Content::Constant { .. } => None,
        }
    }
}

#[derive(Debug)]
pub(super) enum Content {
    Constant { ty: Type, dims: Vec<usize>, bytes: Vec<u8> },
    Weight { parameter: String, form: Form },
}

/// The form in which a parameter is stored.
///
/// Integers are `q = round(w / s)` with `s = max|w| / 127` over a row of the matrix in Hugging Face files: an output of a
/// linear layer, a token of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Float(Type, Layout),
    Integers(Layout),
    /// The scales `s` of [`Form::Integers`]: `[out]` beside a transposed matrix, `[rows, 1]` beside a table.
    Scales(Layout),
}

impl Form {
    /// The suffix of the tensor's name, as in files quantized by ONNX Runtime.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Form::Float(..) => "",
            Form::Integers(_) => "_quantized",
            Form::Scales(_) => "_scale",
        }
    }

    pub(super) fn ty(self) -> Type {
        match self {
            Form::Float(ty, _) => ty,
            Form::Integers(_) => Type::Int8,
            Form::Scales(_) => Type::Float,
        }
    }

    /// The tensor's shape, given the parameter's shape in the model's files.
    pub(super) fn dims(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Form::Scales(Layout::Transposed), [rows, ..]) => vec![*rows],
            (Form::Scales(Layout::AsInFiles), [rows, ..]) => vec![*rows, 1],
            (Form::Float(_, Layout::Transposed) | Form::Integers(Layout::Transposed), [rows, columns]) => {
                vec![*columns, *rows]
            }
            _ => shape.to_vec(),
        }
    }

    /// Passes the tensor's bytes to `put`, piece by piece.
    pub(super) fn write(self, stored: &Stored, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        match self {
            Form::Float(ty, Layout::AsInFiles) => each_piece(stored, &mut |_, values| put(&floats(ty, values)?)),
            Form::Float(ty, Layout::Transposed) => {
                let values = stored.read(Layout::Transposed)?;
                values.chunks(PIECE).try_for_each(|values| put(&floats(ty, values)?))
            }
            Form::Scales(_) => put(&Type::Float.encode(&scales(stored)?)),
            Form::Integers(layout) => integers(stored, layout, put),
        }
    }
}

/// Calls `each` with every piece of a tensor and its offset.
fn each_piece(stored: &Stored, each: &mut dyn FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
    let pieces = stored.pieces()?;
    (0..pieces.count()).try_for_each(|at| each(at * PIECE, &pieces.read(at)?))
}

fn floats(ty: Type, values: &[f32]) -> Result<Vec<u8>> {
    check(values)?;
    let largest = values.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    ensure!(
        ty != Type::Float16 || largest <= 65504.0,
        "a weight is ±{largest}, larger than the f16 maximum 65504; convert with precision = \"f32\""
    );
    Ok(ty.encode(values))
}

fn check(values: &[f32]) -> Result<()> {
    let bad = values.iter().find(|v| !v.is_finite());
    ensure!(bad.is_none(), "a weight is {}; only models with finite weights can be converted", bad.unwrap_or(&0.0));
    Ok(())
}

/// One scale for each row.
fn scales(stored: &Stored) -> Result<Vec<f32>> {
    let columns = columns(stored)?;
    let mut largest = vec![0f32; stored.size() / columns];
    each_piece(stored, &mut |first, values| {
        check(values)?;
        for (at, part) in parts(first, values, columns) {
            let row = &mut largest[at / columns];
            *row = part.iter().fold(*row, |largest, v| largest.max(v.abs()));
        }
        Ok(())
    })?;
    // For a row of zeros (padding) any scale gives zeros back.
    Ok(largest.into_iter().map(|largest| if largest > 0.0 { largest / 127.0 } else { 1.0 }).collect())
}

fn integers(stored: &Stored, layout: Layout, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let (scales, columns) = (scales(stored)?, columns(stored)?);
    let rows = scales.len();
    let mut transposed = vec![0u8; if layout == Layout::Transposed { stored.size() } else { 0 }];
    each_piece(stored, &mut |first, values| {
        let mut integers = Vec::with_capacity(values.len());
        for (at, part) in parts(first, values, columns) {
            let (row, column) = (at / columns, at % columns);
            let begin = integers.len();
            integers.extend(part.iter().map(|value| round(value / scales[row])));
            if layout == Layout::Transposed {
                let places = transposed[column * rows..].iter_mut().skip(row).step_by(rows);
                places.zip(&integers[begin..]).for_each(|(place, integer)| *place = *integer);
            }
        }
        if layout == Layout::AsInFiles { put(&integers) } else { Ok(()) }
    })?;
    if layout == Layout::Transposed { put(&transposed) } else { Ok(()) }
}

/// Rounds to the nearest integer, ties to even, for |x| ≤ 127: an f32 beyond 2^23 has no fractional bits. The standard
/// library's function is a call for each number on builds that support old processors.
fn round(x: f32) -> u8 {
    const BEYOND: f32 = 12_582_912.0; // 1.5 · 2^23
    (x + BEYOND - BEYOND) as i8 as u8
}

/// Splits a piece at row boundaries; returns each part with its offset in the tensor.
fn parts(first: usize, values: &[f32], columns: usize) -> impl Iterator<Item = (usize, &[f32])> {
    let mut at = first;
    let mut rest = values;
    std::iter::from_fn(move || {
        let (part, others) = rest.split_at_checked(columns - at % columns).unwrap_or((rest, &[]));
        let place = at;
        (at, rest) = (at + part.len(), others);
        (!part.is_empty()).then_some((place, part))
    })
}

fn columns(stored: &Stored) -> Result<usize> {
    match stored.shape[..] {
        [_, columns] if columns > 0 => Ok(columns),
        _ => bail!("the tensor has shape {:?}; only matrices can be stored as integers", stored.shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_rounded_to_the_even_one_and_use_the_whole_range() {
        let rounded = [-127.0, -1.5, -0.5, 0.4, 0.5, 1.5, 63.5, 126.6].map(|x| round(x) as i8);
        assert_eq!(rounded, [-127, -2, 0, 0, 0, 2, 64, 127]);
    }

    #[test]
    fn the_parts_of_a_piece_end_with_their_rows() {
        let values = [0.0; 10];
        let found: Vec<(usize, usize)> = parts(3, &values, 4).map(|(at, part)| (at, part.len())).collect();
        assert_eq!(found, [(3, 1), (4, 4), (8, 4), (12, 1)]);
        assert_eq!(parts(0, &[], 4).count(), 0);
    }
}
