//! Weights as they lie on disk: names, shapes and types from the files' headers, values a piece at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::host::HostTensor;
use super::{pickle, weights};

/// Values that are in memory at a time: a megabyte of f32, large enough that a disk is read at its speed.
pub const PIECE: usize = 1 << 18;

/// The tensors of a model's files, none of them in memory.
pub struct Stored {
    tensors: BTreeMap<String, Entry>,
}

/// What is known of a tensor without reading its values.
#[derive(Debug)]
pub struct Entry {
    pub shape: Vec<usize>,
    /// `f32`, `f16`, `bf16`, `int8`, …
    pub dtype: String,
    /// In the file; with its scales, where it is one of our int8 weights.
    pub bytes: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    File {
        path: PathBuf,
        at: u64,
        dtype: Dtype,
        /// Where the scales of an int8 weight are: one f32 for each row.
        scales: Option<u64>,
    },
    Memory(HostTensor),
}

impl Entry {
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Index tables that old checkpoints carry are no parameters.
    pub fn is_parameter(&self) -> bool {
        match &self.source {
            Source::Memory(_) => true,
            Source::File { dtype, scales, .. } => {
                scales.is_some() || matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
            }
        }
    }

    /// The values in the order of the file, row by row.
    pub fn values(&self) -> Result<Values<'_>> {
        let scales = match &self.source {
            Source::File { path, scales: Some(at), .. } => {
                let mut bytes = vec![0; 4 * self.shape.first().copied().unwrap_or(0)];
                read_at(path, *at)?.read_exact(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
                bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
            }
            _ => Vec::new(),
        };
        let file = match &self.source {
            Source::File { path, at, .. } => Some(read_at(path, *at)?),
            Source::Memory(_) => None,
        };
        Ok(Values { entry: self, file, scales, done: 0, bytes: Vec::new() })
    }
}

fn read_at(path: &Path, at: u64) -> Result<File> {
    let open = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(at))?;
        Ok::<_, std::io::Error>(file)
    };
    open().with_context(|| format!("reading {}", path.display()))
}

/// A tensor's values on their way from the file.
pub struct Values<'a> {
    entry: &'a Entry,
    file: Option<File>,
    scales: Vec<f32>,
    done: usize,
    bytes: Vec<u8>,
}

impl Values<'_> {
    /// Puts the next [`PIECE`] of values into `piece`, fewer at the end; false when there are no more.
    pub fn next(&mut self, piece: &mut Vec<f32>) -> Result<bool> {
        piece.clear();
        let count = (self.entry.size() - self.done).min(PIECE);
        match (&self.entry.source, &mut self.file) {
            (Source::File { path, dtype, .. }, Some(file)) if count > 0 => {
                self.bytes.resize(count * dtype.bitsize() / 8, 0);
                file.read_exact(&mut self.bytes).with_context(|| format!("reading {}", path.display()))?;
                let width = self.entry.shape.iter().skip(1).product::<usize>().max(1);
                decode(*dtype, &self.bytes, piece)?;
                if !self.scales.is_empty() {
                    piece.iter_mut().enumerate().for_each(|(i, v)| *v *= self.scales[(self.done + i) / width]);
                }
            }
            (Source::Memory(tensor), _) => piece.extend(&tensor.data[self.done..self.done + count]),
            _ => {}
        }
        self.done += count;
        Ok(count > 0)
    }
}

fn decode(dtype: Dtype, bytes: &[u8], into: &mut Vec<f32>) -> Result<()> {
    match dtype {
        Dtype::F32 => into.extend(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))),
        Dtype::F64 => into.extend(bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32)),
        Dtype::F16 => into.extend(bytes.as_chunks::<2>().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32())),
        Dtype::BF16 => into.extend(bytes.as_chunks::<2>().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32())),
        Dtype::I8 => into.extend(bytes.iter().map(|b| f32::from(*b as i8))),
        dtype => bail!("values of type {dtype:?} are not supported; f32, f16, bf16 and pipe's int8 are"),
    }
    Ok(())
}

impl Stored {
    /// Reads the headers of weight files.
    pub fn open(files: &[PathBuf]) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for path in files {
            if path.extension().is_some_and(|extension| extension == "bin") {
                tensors.extend(pickle::read(path)?.into_iter().map(|(name, tensor)| (name, in_memory(tensor))));
            } else {
                tensors.extend(header(path).with_context(|| format!("reading {}", path.display()))?);
            }
        }
        Ok(Self { tensors })
    }

    pub fn tensors(&self) -> &BTreeMap<String, Entry> {
        &self.tensors
    }

    pub fn into_tensors(self) -> BTreeMap<String, Entry> {
        self.tensors
    }
}

fn in_memory(tensor: HostTensor) -> Entry {
    let bytes = 4 * tensor.data.len() as u64;
    Entry { shape: tensor.shape.clone(), dtype: "f32".into(), bytes, source: Source::Memory(tensor) }
}

fn header(path: &Path) -> Result<BTreeMap<String, Entry>> {
    let file = File::open(path)?;
    // SAFETY: as for `weights::read`; only the header's pages are touched.
    let map = unsafe { Mmap::map(&file) }?;
    let (length, metadata) = SafeTensors::read_metadata(&map)
        .map_err(|error| anyhow!("not a valid safetensors file ({error}); was it cut short?"))?;
    let infos = metadata.tensors();
    let place = |at: usize| (8 + length + at) as u64;
    let mut tensors = BTreeMap::new();
    for (name, info) in &infos {
        if name.strip_suffix(weights::SCALE).is_some_and(|weight| infos.contains_key(weight)) {
            continue;
        }
        let (start, end) = info.data_offsets;
        let mut bytes = (end - start) as u64;
        let mut scales = None;
        if info.dtype == Dtype::I8
            && let Some(scale) = infos.get(&format!("{name}{}", weights::SCALE))
        {
            let rows = info.shape.first().copied().unwrap_or(0);
            ensure!(
                scale.dtype == Dtype::F32 && scale.shape == [rows],
                "tensor {name}: its scales are {:?} {:?}; f32 [{rows}] is needed",
                scale.dtype,
                scale.shape
            );
            bytes += (scale.data_offsets.1 - scale.data_offsets.0) as u64;
            scales = Some(place(scale.data_offsets.0));
        }
        let dtype = if scales.is_some() { "int8".into() } else { format!("{:?}", info.dtype).to_lowercase() };
        let source = Source::File { path: path.to_owned(), at: place(start), dtype: info.dtype, scales };
        tensors.insert(name.clone(), Entry { shape: info.shape.clone(), dtype, bytes, source });
    }
    Ok(tensors)
}
