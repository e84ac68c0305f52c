//! A tensor in a file: the position of its values, and their conversion to f32.
//!
//! This module reads at file offsets instead of memory-mapping. Measured on 490 MB, that is as fast; a file that is truncated
//! meanwhile causes an error and not a SIGBUS; and pages of the file do not count as memory of the process.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;

use crate::compute::int4::HALF;
use crate::compute::int8::Range;
use crate::files::host::{HostTensor, Layout, transpose_rows};

/// Bytes read at a time: they stay in a core's cache until they are converted to f32.
const BLOCK: usize = 256 << 10;

/// An open weight file, or values that were computed from the tensors of one.
#[derive(Debug)]
pub(crate) struct Source {
    pub path: PathBuf,
    pub length: u64,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    InFile(File),
    InMemory(Vec<u8>),
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>> {
        let open = || -> io::Result<(File, Metadata)> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        let (file, metadata) = open().with_context(|| format!("opening {}", path.display()))?;
        ensure!(metadata.is_file(), "{} is not a file", path.display());
        Ok(Arc::new(Source { path: path.to_owned(), length: metadata.len(), bytes: Bytes::InFile(file) }))
    }

    /// Reads bytes from offset `at`; fails before allocating if the file is too short.
    pub(crate) fn bytes(&self, at: u64, length: u64) -> Result<Vec<u8>> {
        let fits = at.checked_add(length).is_some_and(|end| end <= self.length);
        ensure!(fits, "the file is damaged or was cut short");
        let mut bytes = vec![0; usize::try_from(length)?];
        self.fill(at, &mut bytes)?;
        Ok(bytes)
    }

    fn fill(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        let read = match &self.bytes {
            Bytes::InFile(file) => file.read_exact_at(bytes, at),
            Bytes::InMemory(all) => {
                let from = usize::try_from(at).ok().and_then(|at| all.get(at..)?.get(..bytes.len()));
                from.map(|from| bytes.copy_from_slice(from)).ok_or(io::ErrorKind::UnexpectedEof.into())
            }
        };
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => anyhow!("the file became shorter while it was read"),
            _ => error.into(),
        })
    }
}

/// A tensor in a file.
#[derive(Debug, Clone)]
pub struct Stored {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Size of its values in the file in bytes, without scales.
    pub bytes: u64,
    pub(crate) source: Arc<Source>,
    /// The offset of its first value.
    pub(crate) at: u64,
    /// Strides in values, for a view of a PyTorch storage that is not row-major.
    pub(crate) strides: Option<Vec<usize>>,
    /// Whether its values are 4-bit integers, two per byte, stored with an offset of [`HALF`].
    pub(crate) packed: bool,
    /// One scale for each row of an int8 matrix, or for each group of values in a row of an int4 matrix.
    pub(crate) scales: Option<Box<Stored>>,
    /// The scale and zero point of the layer's activations, if they are fixed.
    pub(crate) inputs: Option<Box<[Stored; 2]>>,
}

impl Stored {
    /// A tensor of these values, computed from tensors of the file at `path`.
    pub(super) fn computed(path: &Path, shape: Vec<usize>, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let length = bytes.len() as u64;
        Stored {
            dtype: Dtype::F32,
            shape,
            bytes: length,
            source: Arc::new(Source { path: path.to_owned(), length, bytes: Bytes::InMemory(bytes) }),
            at: 0,
            strides: None,
            packed: false,
            scales: None,
            inputs: None,
        }
    }

    /// The number of its values.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Whether it is int8 or int4 with scales.
    pub fn is_scaled(&self) -> bool {
        self.scales.is_some()
    }

    /// Whether it is int4.
    pub fn is_packed(&self) -> bool {
        self.packed
    }

    /// Reads its values as f32 in `layout`; multiplies integers by their scales.
    pub fn read(&self, layout: Layout) -> Result<Vec<f32>> {
        let scales = self.scales()?;
        let mut out = vec![0f32; self.size()];
        match (&self.strides, layout, &self.shape[..]) {
            _ if out.is_empty() => {}
            (Some(strides), ..) => {
                self.gather(strides, &mut out)?;
                let tensor = HostTensor { shape: self.shape.clone(), data: out };
                return Ok(tensor.into_layout(layout));
            }
            (None, Layout::Transposed, [rows, columns]) => {
                self.read_transposed([*rows, *columns], &scales, &mut out)?
            }
            (None, _, shape) => self.read_rows(shape.first().copied().unwrap_or(1), &scales, &mut out)?,
        }
        Ok(out)
    }

    /// Reads the 8-bit integers `[rows, columns]` and the scale of each row.
    pub fn read_integers(&self) -> Result<(Vec<i8>, Vec<f32>)> {
        let scales = self.scales()?;
        ensure!(
            self.is_scaled() && !self.packed,
            "expected 8-bit integers with scales, found values of type {:?}",
            self.dtype
        );
        let bytes = self.source.bytes(self.at, self.bytes)?;
        Ok((bytes.into_iter().map(|byte| byte as i8).collect(), scales))
    }

    /// Reads the 4-bit integers, two per byte, and the scale of each group.
    pub fn read_packed(&self) -> Result<(Vec<u8>, Vec<f32>)> {
        let scales = self.scales()?;
        ensure!(self.packed, "expected 4-bit integers, found values of type {:?}", self.dtype);
        Ok((self.source.bytes(self.at, self.bytes)?, scales))
    }

    /// Reads a few sizes stored as i64.
    pub(super) fn read_sizes(&self) -> Result<Vec<usize>> {
        ensure!(
            self.dtype == Dtype::I64 && self.size() <= 8,
            "expected at most 8 sizes of type I64, found {:?} {:?}",
            self.dtype,
            self.shape
        );
        let bytes = self.source.bytes(self.at, self.bytes)?;
        Ok(bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| usize::try_from(i64::from_le_bytes(*b)))
            .collect::<Result<_, _>>()?)
    }

    /// Reads the range of the layer's activations, if it is fixed.
    pub fn read_range(&self) -> Result<Option<Range>> {
        let Some([scale, zero]) = self.inputs.as_deref() else { return Ok(None) };
        ensure!(
            scale.dtype == Dtype::F32 && scale.size() == 1 && zero.dtype == Dtype::I8 && zero.size() == 1,
            "its input scale and zero point are {:?} {:?} and {:?} {:?}; expected F32 [1] and I8 [1]",
            scale.dtype,
            scale.shape,
            zero.dtype,
            zero.shape
        );
        let (mut values, mut bytes) = ([0f32; 2], Vec::new());
        scale.decode(0, &mut values[..1], &mut bytes)?;
        zero.decode(0, &mut values[1..], &mut bytes)?;
        let [scale, zero] = values;
        Ok(Some(Range { low: (-128.0 - zero) * scale, high: (127.0 - zero) * scale }))
    }

    /// Reads the values in file order, on all cores.
    fn read_rows(&self, rows: usize, scales: &[f32], out: &mut [f32]) -> Result<()> {
        let columns = out.len() / rows;
        let block = (BLOCK / self.width(columns)?).max(1);
        let run = self.run(scales);
        let read = |bytes: &mut Vec<u8>, (i, values): (usize, &mut [f32])| -> Result<()> {
            self.decode(i * block * columns, values, bytes)?;
            scale(values, run, scales.get(i * block * columns / run..).unwrap_or_default());
            Ok(())
        };
        out.par_chunks_mut(block * columns).enumerate().try_for_each_init(Vec::new, read)
    }

    /// Reads a matrix in blocks of rows on one core; the other cores read other matrices.
    fn read_transposed(&self, [rows, columns]: [usize; 2], scales: &[f32], out: &mut [f32]) -> Result<()> {
        // At least one cache line of the transpose.
        let block = (BLOCK / self.width(columns)?).max(1).next_multiple_of(16).min(rows);
        let (run, mut bytes, mut values) = (self.run(scales), Vec::new(), vec![0f32; block * columns]);
        for top in (0..rows).step_by(block) {
            let values = &mut values[..block.min(rows - top) * columns];
            self.decode(top * columns, values, &mut bytes)?;
            scale(values, run, scales.get(top * columns / run..).unwrap_or_default());
            transpose_rows(values, columns, &mut out[top..], rows);
        }
        Ok(())
    }

    /// The number of consecutive values that share a scale.
    pub(super) fn run(&self, scales: &[f32]) -> usize {
        (self.size() / scales.len().max(1)).max(1)
    }

    pub(super) fn scales(&self) -> Result<Vec<f32>> {
        let rows = self.shape.first().copied().unwrap_or(0);
        match (&self.scales, self.dtype) {
            (Some(scales), Dtype::I32) if self.packed => {
                let groups = scales.shape.get(1).copied().unwrap_or(0);
                let fits = scales.shape.len() == 2 && scales.shape[0] == rows && groups > 0;
                let columns = self.size() / rows.max(1);
                ensure!(
                    fits && scales.dtype != Dtype::I64 && columns.is_multiple_of(2 * groups),
                    "its scales are {:?} {:?}; expected floats [{rows}, groups], with groups of equal, even size over {columns} columns",
                    scales.dtype,
                    scales.shape
                );
                scales.read(Layout::AsInFiles)
            }
            (Some(scales), Dtype::I8) => {
                ensure!(
                    scales.dtype == Dtype::F32 && (scales.shape == [rows, 1] || scales.shape == [rows]),
                    "its scales are {:?} {:?}; expected F32 [{rows}, 1]",
                    scales.dtype,
                    scales.shape
                );
                scales.read(Layout::AsInFiles)
            }
            (None, Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16 | Dtype::I64) => Ok(Vec::new()),
            (_, dtype) => {
                bail!(
                    "values of type {dtype:?} are not supported; supported types: f32, f16, bf16, f64, and pipe's int8 and int4"
                )
            }
        }
    }

    /// Reads values in row-major order, starting at index `first`, into `out`. For int4, `first` and the length must be even.
    pub(super) fn decode(&self, first: usize, out: &mut [f32], bytes: &mut Vec<u8>) -> Result<()> {
        bytes.resize(self.width(out.len())?, 0);
        self.source.fill(self.at + self.width(first)? as u64, bytes)?;
        if self.packed {
            let number = |nibble: u8| f32::from(nibble as i8 - HALF);
            out.as_chunks_mut::<2>().0.iter_mut().zip(bytes).for_each(|(pair, byte)| {
                *pair = [number(*byte & 15), number(*byte >> 4)];
            });
        } else {
            convert(self.dtype, bytes, out);
        }
        Ok(())
    }

    /// Size of `numbers` values in bytes.
    fn width(&self, numbers: usize) -> Result<usize> {
        let bits = if self.packed { 4 } else { self.dtype.bitsize() };
        ensure!((bits * numbers).is_multiple_of(8), "values of type {:?} are not supported", self.dtype);
        Ok(bits * numbers / 8)
    }

    /// Reads a view that is not row-major: first the part of the storage that it covers, then value by value.
    fn gather(&self, strides: &[usize], out: &mut [f32]) -> Result<()> {
        let last: usize = self.shape.iter().zip(strides).map(|(dim, stride)| (dim - 1) * stride).sum();
        let mut stretch = vec![0f32; last + 1];
        self.decode(0, &mut stretch, &mut Vec::new())?;
        let mut index = vec![0usize; self.shape.len()];
        let mut at = 0;
        for value in out {
            *value = stretch[at];
            // Advance the index, last axis first.
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= index[axis] * strides[axis];
                index[axis] = 0;
            }
        }
        Ok(())
    }
}

/// Multiplies each run of values by its scale; does nothing if there are no scales.
fn scale(values: &mut [f32], run: usize, scales: &[f32]) {
    for (values, scale) in values.chunks_exact_mut(run).zip(scales) {
        values.iter_mut().for_each(|value| *value *= scale);
    }
}

/// Converts little-endian values of a supported type to f32.
fn convert(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        Dtype::F32 => each(bytes, out, f32::from_le_bytes),
        Dtype::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => halves(bytes, out, f16::from_le_bytes),
        Dtype::BF16 => halves(bytes, out, bf16::from_le_bytes),
        Dtype::I8 => each(bytes, out, |[b]| f32::from(b as i8)),
        // I64: index tables of old checkpoints. `scales` rejects all other types before.
        _ => each(bytes, out, |b| i64::from_le_bytes(b) as f32),
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *value = number(*bytes);
    }
}

/// Converts in blocks, for which `half` uses vector instructions.
fn halves<T: Copy + Default>(bytes: &[u8], out: &mut [f32], number: impl Fn([u8; 2]) -> T)
where
    [T]: HalfFloatSliceExt,
{
    const STRETCH: usize = 256;
    let mut some = [T::default(); STRETCH];
    for (values, bytes) in out.chunks_mut(STRETCH).zip(bytes.chunks(2 * STRETCH)) {
        for (half, bytes) in some.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *half = number(*bytes);
        }
        some[..values.len()].convert_to_f32_slice(values);
    }
}

/// Reads one tensor; errors name it and its file.
pub fn value(name: &str, stored: &Stored, layout: Layout) -> Result<Vec<f32>> {
    stored.read(layout).with_context(|| format!("reading {}: tensor {name}", stored.path().display()))
}
