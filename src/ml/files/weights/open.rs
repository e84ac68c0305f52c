//! Finds and opens the weight files of a model folder, single or sharded, safetensors or PyTorch, without reading values.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rayon::prelude::*;
use serde_json::Value;

use super::header;
use super::header::SCALE;
use super::rebuild;
use super::stored::{Source, Stored, value};
use crate::files::host::{HostTensor, HostTensors, Layout};
use crate::files::{pickle, pointer};

pub const SINGLE: &str = "model.safetensors";
pub const INDEX: &str = "model.safetensors.index.json";
/// PyTorch's format before safetensors. `pipe` reads it if a folder has no safetensors, and never writes it.
pub const PICKLE: &str = "pytorch_model.bin";
pub const PICKLE_INDEX: &str = "pytorch_model.bin.index.json";

/// The weight files of a model folder; empty if it contains only a config.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    Ok(match find(dir) {
        Some(Found::Single(path)) => vec![path],
        Some(Found::Sharded(index)) => files_at(&index)?,
        None => Vec::new(),
    })
}

/// The total size of a model folder's weight files in bytes.
pub fn bytes(dir: &Path) -> Result<u64> {
    let size = |file: PathBuf| {
        fs::metadata(&file).map(|file| file.len()).with_context(|| format!("reading {}", file.display()))
    };
    files(dir)?.into_iter().map(size).sum()
}

/// The weight files at a path: the file itself, or the files that an index lists.
pub fn files_at(path: &Path) -> Result<Vec<PathBuf>> {
    if is_index(path) { Ok(shards(path)?.into_keys().collect()) } else { Ok(vec![path.to_owned()]) }
}

fn is_index(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

enum Found {
    Single(PathBuf),
    /// The path of the index.
    Sharded(PathBuf),
}

/// Finds the files that transformers would load: safetensors before PyTorch, a single file before shards.
fn find(dir: &Path) -> Option<Found> {
    let existing = |name: &str| Some(dir.join(name)).filter(|path| path.is_file());
    let format = |(single, index): (&str, &str)| {
        existing(single).map(Found::Single).or_else(|| existing(index).map(Found::Sharded))
    };
    [(SINGLE, INDEX), (PICKLE, PICKLE_INDEX)].into_iter().find_map(format)
}

/// Files of a folder whose names suggest weights, but that `pipe` does not read. Initialising a model at random although
/// the folder has such files would be a mistake.
pub fn unread(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let holds = |name: &String| {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        ["safetensors", "h5", "msgpack", "ckpt", "pt", "pth"].contains(&ending) && !name.starts_with("adapter_model")
            || name.starts_with("pytorch_model") && ending == "bin"
    };
    let mut names: Vec<String> = names.filter(holds).collect();
    names.sort();
    names
}

/// The paths that a sharded model's index lists, each with its tensor names.
fn shards(index: &Path) -> Result<BTreeMap<PathBuf, BTreeSet<String>>> {
    let dir = index.parent().unwrap_or(Path::new("."));
    let existing = |(name, tensors): (String, BTreeSet<String>)| {
        let path = dir.join(&name);
        ensure!(path.is_file(), "{} lists the shard {name}, which does not exist", index.display());
        Ok((path, tensors))
    };
    weight_map(index)?.into_iter().map(existing).collect()
}

/// The file names that a sharded model's index lists, each once.
pub fn shard_names(index: &Path) -> Result<Vec<String>> {
    Ok(weight_map(index)?.into_keys().collect())
}

/// Parses an index: its file names, each with its tensor names.
fn weight_map(index: &Path) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let value: Value = serde_json::from_slice(&pointer::read(index)?)
        .with_context(|| format!("{} is not valid JSON", index.display()))?;
    let map = value["weight_map"].as_object().ok_or_else(|| anyhow!("{} has no `weight_map`", index.display()))?;
    let mut files = BTreeMap::<String, BTreeSet<String>>::new();
    for (tensor, file) in map {
        let file = file.as_str().ok_or_else(|| anyhow!("{} lists no file for tensor {tensor}", index.display()))?;
        // Accept only a file in the folder of the index, never a path to elsewhere.
        if Path::new(file).file_name().is_none_or(|name| name != file) {
            bail!("{} lists the shard `{file}`, which is not a plain file name", index.display());
        }
        files.entry(file.to_owned()).or_default().insert(tensor.clone());
    }
    Ok(files)
}

/// The tensors of one or several files by name; their values stay in the files until they are read.
#[derive(Debug, Default)]
pub struct Weights {
    pub tensors: BTreeMap<String, Stored>,
}

impl Weights {
    /// Opens the weights of a model folder; `None` if it contains only a config.
    pub fn open(dir: &Path) -> Result<Option<Self>> {
        match find(dir) {
            None => Ok(None),
            Some(Found::Single(path)) => Self::at(&path).map(Some),
            Some(Found::Sharded(index)) => Ok(Some(Self::sharded(&index)?)),
        }
    }

    /// Opens one file, or all files that an index lists.
    pub fn at(path: &Path) -> Result<Self> {
        if is_index(path) { Self::sharded(path) } else { Self::of(std::slice::from_ref(&path.to_owned())) }
    }

    /// Opens the files that an index lists.
    fn sharded(index: &Path) -> Result<Self> {
        let mut all = Weights::default();
        for (path, named) in shards(index)? {
            let tensors = list(&path)?;
            agree(index, &path, &named, &tensors)?;
            all.add(tensors)?;
        }
        all.rebuilt()
    }

    /// Opens these files.
    pub fn of(files: &[PathBuf]) -> Result<Self> {
        let mut all = Weights::default();
        files.iter().try_for_each(|path| all.add(list(path)?))?;
        all.rebuilt()
    }

    /// Computes the weights that training stored in parts.
    fn rebuilt(mut self) -> Result<Self> {
        rebuild::masked(&mut self.tensors)?;
        rebuild::normed(&mut self.tensors)?;
        Ok(self)
    }

    fn add(&mut self, tensors: BTreeMap<String, Stored>) -> Result<()> {
        for (name, stored) in tensors {
            match self.tensors.entry(name) {
                Entry::Vacant(place) => drop(place.insert(stored)),
                Entry::Occupied(other) => {
                    let (one, two) = (other.get().path().display(), stored.path().display());
                    bail!(
                        "tensor {} is in both {one} and {two}; remove the file that does not belong to the model",
                        other.key()
                    )
                }
            }
        }
        Ok(())
    }

    /// Reads every tensor, on all cores.
    pub fn read(&self) -> Result<HostTensors> {
        let read = |(name, stored): (&String, &Stored)| {
            let data = value(name, stored, Layout::AsInFiles)?;
            Ok((name.clone(), HostTensor { shape: stored.shape.clone(), data }))
        };
        self.tensors.par_iter().map(read).collect()
    }
}

/// Reads every tensor of the files as f32; multiplies `pipe`'s int8 weights by their scales.
pub fn read(files: &[PathBuf]) -> Result<HostTensors> {
    Weights::of(files)?.read()
}

/// The tensors of one file.
fn list(path: &Path) -> Result<BTreeMap<String, Stored>> {
    let source = Source::open(path)?;
    let read = || {
        // Longer than any beginning of a pointer.
        pointer::check_bytes(&source.bytes(0, source.length.min(64))?)?;
        match path.extension() {
            Some(extension) if extension == "bin" => pickle::tensors(&source),
            _ => header::tensors(&source),
        }
    };
    read().with_context(|| format!("reading {}", path.display()))
}

/// Checks that a shard contains exactly the tensors that its index lists: shards of another model have the same file names.
fn agree(index: &Path, shard: &Path, named: &BTreeSet<String>, tensors: &BTreeMap<String, Stored>) -> Result<()> {
    let is_scale = |name: &str| name.strip_suffix(SCALE).and_then(|n| tensors.get(n)).is_some_and(Stored::is_scaled);
    if let Some(missing) = named.iter().find(|name| !tensors.contains_key(*name) && !is_scale(name)) {
        bail!("{} lists tensor {missing} in {}, but that file does not contain it", index.display(), shard.display());
    }
    if let Some(extra) = tensors.keys().find(|name| !named.contains(*name)) {
        bail!("{} contains tensor {extra}, which {} does not list", shard.display(), index.display());
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
