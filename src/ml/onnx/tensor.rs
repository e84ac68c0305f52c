//! The tensors of an ONNX file: constants, and a model's weights as they go from its files into this one.

use anyhow::{Result, bail, ensure};

use crate::ml::model::host::Layout;
use crate::ml::model::weights::pieces::PIECE;
use crate::ml::model::weights::stored::Stored;

/// Types of numbers, by their value in `TensorProto.DataType`.
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

    /// Floats in this type, little-endian.
    pub fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Type::Float16 => values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

/// A tensor of the file (`TensorProto`).
#[derive(Debug)]
pub struct Tensor {
    pub name: String,
    pub content: Content,
}

impl Tensor {
    /// The parameter that it holds.
    pub fn parameter(&self) -> Option<&str> {
        match &self.content {
            Content::Weight { parameter, .. } => Some(parameter),
            Content::Constant { .. } => None,
        }
    }
}

#[derive(Debug)]
pub enum Content {
    Constant { ty: Type, dims: Vec<usize>, bytes: Vec<u8> },
    Weight { parameter: String, form: Form },
}

/// How a parameter is stored.
///
/// Integers are `q = round(w / s)` with `s = max|w| / 127` over a row of the matrix in Hugging Face files: an output of a
/// linear layer, a token of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Float(Type, Layout),
    Integers(Layout),
    /// The scales `s` of [`Form::Integers`]: `[out]` beside a transposed matrix, `[rows, 1]` beside a table.
    Scales(Layout),
}

impl Form {
    /// What the tensor's name has after the parameter's, as in files of ONNX Runtime's own quantization.
    pub fn suffix(self) -> &'static str {
        match self {
            Form::Float(..) => "",
            Form::Integers(_) => "_quantized",
            Form::Scales(_) => "_scale",
        }
    }

    pub fn ty(self) -> Type {
        match self {
            Form::Float(ty, _) => ty,
            Form::Integers(_) => Type::Int8,
            Form::Scales(_) => Type::Float,
        }
    }

    /// The tensor's shape, from that of the parameter in its files.
    pub fn dims(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Form::Scales(Layout::Transposed), [rows, ..]) => vec![*rows],
            (Form::Scales(Layout::AsInFiles), [rows, ..]) => vec![*rows, 1],
            (Form::Float(_, Layout::Transposed) | Form::Integers(Layout::Transposed), [rows, columns]) => {
                vec![*columns, *rows]
            }
            _ => shape.to_vec(),
        }
    }

    /// Gives the tensor's bytes to `put`, piece by piece.
    pub fn write(self, stored: &Stored, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
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

/// Calls `each` with the pieces of a tensor and where they begin.
fn each_piece(stored: &Stored, each: &mut dyn FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
    let pieces = stored.pieces()?;
    (0..pieces.count()).try_for_each(|at| each(at * PIECE, &pieces.read(at)?))
}

fn floats(ty: Type, values: &[f32]) -> Result<Vec<u8>> {
    check(values)?;
    let largest = values.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    ensure!(
        ty != Type::Float16 || largest <= 65504.0,
        "it holds ±{largest}, more than f16's 65504; convert with precision = \"f32\""
    );
    Ok(ty.encode(values))
}

fn check(values: &[f32]) -> Result<()> {
    let bad = values.iter().find(|v| !v.is_finite());
    ensure!(bad.is_none(), "it holds {}; a model with such a weight is not converted", bad.unwrap_or(&0.0));
    Ok(())
}

/// One scale for each row.
fn scales(stored: &Stored) -> Result<Vec<f32>> {
    let columns = columns(stored)?;
    let mut largest = vec![0f32; stored.size() / columns];
    each_piece(stored, &mut |first, values| {
        check(values)?;
        for (i, value) in values.iter().enumerate() {
            let row = &mut largest[(first + i) / columns];
            *row = row.max(value.abs());
        }
        Ok(())
    })?;
    // A row of zeros (padding) has no largest weight; any scale gives zeros back.
    Ok(largest.into_iter().map(|largest| if largest > 0.0 { largest / 127.0 } else { 1.0 }).collect())
}

fn integers(stored: &Stored, layout: Layout, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let (scales, columns) = (scales(stored)?, columns(stored)?);
    let quantize = |first: usize, values: &[f32]| -> Vec<u8> {
        let quantize = |(i, value): (usize, &f32)| {
            (value / scales[(first + i) / columns]).round_ties_even().clamp(-127.0, 127.0) as i8 as u8
        };
        values.iter().enumerate().map(quantize).collect()
    };
    if layout == Layout::AsInFiles {
        return each_piece(stored, &mut |first, values| put(&quantize(first, values)));
    }
    let mut transposed = vec![0u8; stored.size()];
    let rows = scales.len();
    each_piece(stored, &mut |first, values| {
        for (i, integer) in quantize(first, values).into_iter().enumerate() {
            let (row, column) = ((first + i) / columns, (first + i) % columns);
            transposed[column * rows + row] = integer;
        }
        Ok(())
    })?;
    put(&transposed)
}

fn columns(stored: &Stored) -> Result<usize> {
    match stored.shape[..] {
        [_, columns] if columns > 0 => Ok(columns),
        _ => bail!("it has the shape {:?}; only matrices are stored as integers", stored.shape),
    }
}
