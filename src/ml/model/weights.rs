//! Weight files: safetensors read by memory map, single or sharded, and written whole or not at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::Value;

use super::host::{HostTensor, HostTensors};
use super::pickle;

pub const SINGLE: &str = "model.safetensors";
pub const INDEX: &str = "model.safetensors.index.json";
/// What PyTorch wrote before safetensors; read where there is nothing else, never written.
pub const PICKLE: &str = "pytorch_model.bin";
pub const PICKLE_INDEX: &str = "pytorch_model.bin.index.json";
/// Appended to the name of an int8 weight to name its scales.
pub const SCALE: &str = "_scale";

/// The weight files of a model folder; none where it holds a config alone.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    for (single, index) in [(SINGLE, INDEX), (PICKLE, PICKLE_INDEX)] {
        let (single, index) = (dir.join(single), dir.join(index));
        if single.is_file() {
            return Ok(vec![single]);
        }
        if index.is_file() {
            return shards(&index);
        }
    }
    Ok(Vec::new())
}

/// The weight files that one file stands for: itself, or the shards of an index.
pub fn of_file(path: &Path) -> Result<Vec<PathBuf>> {
    if path.extension().is_some_and(|extension| extension == "json") { shards(path) } else { Ok(vec![path.to_owned()]) }
}

/// The files that a sharded model's index names.
fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    let dir = index.parent().unwrap_or(Path::new("."));
    let existing = |name: String| {
        let path = dir.join(&name);
        ensure!(path.is_file(), "{} names the shard {name}, which is not there", index.display());
        Ok(path)
    };
    shard_names(index)?.into_iter().map(existing).collect()
}

/// The names of a sharded model's files, each once, by its index.
pub fn shard_names(index: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(index).with_context(|| format!("reading {}", index.display()))?;
    let value: Value = serde_json::from_str(&text).with_context(|| format!("{} is not valid JSON", index.display()))?;
    let map = value["weight_map"].as_object().ok_or_else(|| anyhow!("{} has no `weight_map`", index.display()))?;
    let names: BTreeSet<&str> = map.values().filter_map(Value::as_str).collect();
    // A name is a file beside the index, never a path that leads elsewhere.
    if let Some(name) = names.iter().find(|name| Path::new(name).file_name().is_none_or(|file| file != **name)) {
        bail!("{} names the shard `{name}`, which is not a plain file name", index.display());
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Reads every tensor of the files as f32; our int8 weights are multiplied by their scales.
pub fn read(files: &[PathBuf]) -> Result<HostTensors> {
    let mut tensors = HostTensors::new();
    for path in files {
        if path.extension().is_some_and(|extension| extension == "bin") {
            tensors.extend(pickle::read(path)?);
            continue;
        }
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        // SAFETY: the map is read once, here; a file cut short meanwhile by another program would
        // end this one, as with every memory map, but model files are written by renaming.
        let map = unsafe { Mmap::map(&file) }.with_context(|| format!("mapping {}", path.display()))?;
        tensors.extend(decode_all(&map).with_context(|| format!("reading {}", path.display()))?);
    }
    Ok(tensors)
}

fn decode_all(bytes: &[u8]) -> Result<HostTensors> {
    let parsed = SafeTensors::deserialize(bytes)
        .map_err(|error| anyhow!("not a valid safetensors file ({error}); was it cut short?"))?;
    let views: BTreeMap<String, TensorView> = parsed.tensors().into_iter().collect();
    let scales_of = |name: &str| name.strip_suffix(SCALE).is_some_and(|weight| views.contains_key(weight));
    views
        .par_iter()
        .filter(|(name, _)| !scales_of(name))
        .map(|(name, view)| {
            let scales = views.get(&format!("{name}{SCALE}"));
            let data = decode(view, scales).with_context(|| format!("tensor {name}"))?;
            Ok((name.clone(), HostTensor { shape: view.shape().to_vec(), data }))
        })
        .collect()
}

/// A tensor's values as f32.
fn decode(view: &TensorView, scales: Option<&TensorView>) -> Result<Vec<f32>> {
    let bytes = view.data();
    Ok(match (view.dtype(), scales) {
        (Dtype::F32, _) => floats(bytes),
        (Dtype::F64, _) => bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        (Dtype::F16, _) => bytes.as_chunks::<2>().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
        (Dtype::BF16, _) => bytes.as_chunks::<2>().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
        (Dtype::I8, Some(scales)) => {
            let rows = view.shape().first().copied().unwrap_or(0);
            ensure!(
                scales.dtype() == Dtype::F32 && scales.shape() == [rows],
                "its scales are {:?} {:?}; f32 [{rows}] is needed",
                scales.dtype(),
                scales.shape()
            );
            let width = bytes.len().checked_div(rows).unwrap_or(0).max(1);
            let scales = floats(scales.data());
            let rows = bytes.chunks_exact(width).zip(scales);
            rows.flat_map(|(row, scale)| row.iter().map(move |b| f32::from(*b as i8) * scale)).collect()
        }
        // Index buffers that old checkpoints carry; no parameter has their name.
        (Dtype::I64, _) => bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
        (dtype, _) => bail!("values of type {dtype:?} are not supported; f32, f16, bf16 and pipe's int8 are"),
    })
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// A tensor as it goes into a file.
#[derive(Debug, Clone)]
pub struct Encoded {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Encoded {
    pub fn f32(tensor: &HostTensor) -> Self {
        let bytes = tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        Encoded { dtype: Dtype::F32, shape: tensor.shape.clone(), bytes }
    }

    pub fn f16(tensor: &HostTensor) -> Self {
        let bytes = tensor.data.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        Encoded { dtype: Dtype::F16, shape: tensor.shape.clone(), bytes }
    }
}

impl safetensors::View for &Encoded {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        (&self.bytes).into()
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Encodes a tensor only while it is being written, so that a model is not in memory twice more.
impl safetensors::View for &HostTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Encoded::f32(self).bytes.into()
    }
    fn data_len(&self) -> usize {
        self.data.len() * 4
    }
}

/// Writes tensors to a safetensors file with the metadata that `from_pretrained` looks for.
pub fn write(path: &Path, tensors: &BTreeMap<String, Encoded>) -> Result<()> {
    write_views(path, tensors.iter().collect())
}

/// Writes f32 tensors.
pub fn write_f32(path: &Path, tensors: &HostTensors) -> Result<()> {
    write_views(path, tensors.iter().collect())
}

fn write_views<V: safetensors::View>(path: &Path, tensors: Vec<(&String, V)>) -> Result<()> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    replace(path, |temporary| match safetensors::serialize_to_file(tensors, Some(metadata), temporary) {
        Err(SafeTensorError::IoError(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
        Ok(()) => Ok(()),
    })
}

/// Writes a file whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, |temporary| fs::write(temporary, bytes))
}

/// Lets `fill` write a temporary file in the folder of `path`, then syncs and renames it: the name
/// only ever stands for whole content.
fn replace(path: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let file = tempfile::Builder::new().prefix(".writing-").tempfile_in(dir)?;
        fill(file.path())?;
        file.as_file().sync_all()?;
        // Temporary files are private; a model is for everyone who may read the folder.
        #[cfg(unix)]
        file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], data: &[f32]) -> HostTensor {
        HostTensor { shape: shape.to_vec(), data: data.to_vec() }
    }

    fn error(files: &[PathBuf]) -> String {
        format!("{:#}", read(files).map(|_| ()).expect_err("refused"))
    }

    #[test]
    fn every_float_type_reads_back_as_f32() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join(SINGLE);
        let values = tensor(&[2, 2], &[1.0, -0.5, 0.25, 3.0]);
        let bf16 = values.data.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
        let file = BTreeMap::from([
            ("a".to_owned(), Encoded::f32(&values)),
            ("b".to_owned(), Encoded::f16(&values)),
            ("c".to_owned(), Encoded { dtype: Dtype::BF16, shape: vec![2, 2], bytes: bf16 }),
            ("d".to_owned(), Encoded { dtype: Dtype::I8, shape: vec![2, 2], bytes: vec![1, 255, 127, 129] }),
            ("d_scale".to_owned(), Encoded::f32(&tensor(&[2], &[0.5, 2.0]))),
        ]);
        write(&path, &file).expect("written");
        let back = read(&[path]).expect("read");
        assert_eq!(back.keys().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert!(back["a"] == values && back["b"] == values && back["c"] == values);
        assert_eq!(back["d"].data, [0.5, -0.5, 254.0, -254.0]);
    }

    #[test]
    fn shards_are_found_by_their_index() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (file, name) in [("one.safetensors", "a"), ("two.safetensors", "b")] {
            let values = HostTensors::from([(name.to_owned(), tensor(&[1], &[1.0]))]);
            write_f32(&dir.path().join(file), &values).expect("written");
        }
        let index = r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
        fs::write(dir.path().join(INDEX), index).expect("written");
        let both = read(&files(dir.path()).expect("found")).expect("read");
        assert_eq!(both.keys().collect::<Vec<_>>(), ["a", "b"]);

        fs::remove_file(dir.path().join("two.safetensors")).expect("removed");
        let text = files(dir.path()).map(|_| ()).expect_err("a shard is missing").to_string();
        assert!(text.ends_with("names the shard two.safetensors, which is not there"), "{text}");
        fs::write(dir.path().join(INDEX), r#"{"weight_map": {"a": "../one.safetensors"}}"#).expect("written");
        let text = files(dir.path()).map(|_| ()).expect_err("a path outside").to_string();
        assert!(text.ends_with("is not a plain file name"), "{text}");
    }

    #[test]
    fn damaged_files_and_other_formats_are_clear_errors() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join(SINGLE);
        let values = HostTensors::from([("a".to_owned(), tensor(&[100], &[1.0; 100]))]);
        write_f32(&path, &values).expect("written");
        let whole = fs::read(&path).expect("read");
        for length in [0, 7, 60, whole.len() - 1] {
            fs::write(&path, &whole[..length]).expect("written");
            let text = error(std::slice::from_ref(&path));
            assert!(text.contains(SINGLE), "{length}: {text}");
        }
        fs::remove_file(&path).expect("removed");
        fs::write(dir.path().join(PICKLE), b"x").expect("written");
        let text = error(&files(dir.path()).expect("found"));
        assert!(text.contains("not the zip that PyTorch writes"), "{text}");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("config.json");
        write_whole(&path, b"old").expect("written");
        write_whole(&path, b"new").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
        // A folder where the file should go cannot be replaced by a rename.
        let blocked = dir.path().join("blocked");
        fs::create_dir(&blocked).expect("made");
        assert!(write_whole(&blocked, b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 2);
    }
}
