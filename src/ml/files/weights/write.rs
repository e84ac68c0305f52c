//! Writes safetensors files in one pass, and replaces every file atomically.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tempfile::NamedTempFile;

use crate::files::host::{HostTensor, HostTensors};

/// A tensor encoded for a file.
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

    pub fn bf16(tensor: &HostTensor) -> Self {
        let bytes = tensor.data.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
        Encoded { dtype: Dtype::BF16, shape: tensor.shape.clone(), bytes }
    }
}

/// A tensor's entry in the header.
pub(crate) struct Shape {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

/// The data section of a safetensors file; its header is already written. Tensors may arrive in any order, each in one or
/// more pieces.
pub(crate) struct Body<'a> {
    file: &'a File,
    /// For each name, the offset of the next piece and the end of the tensor.
    places: HashMap<String, (u64, u64)>,
    piece: Vec<u8>,
}

impl<'a> Body<'a> {
    /// Writes the header, with the metadata that `from_pretrained` requires.
    fn begin(file: &'a File, mut shapes: Vec<Shape>) -> Result<Self> {
        // Use the order of the safetensors library, which keeps every tensor aligned.
        shapes.sort_by(|a, b| b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name)));
        let mut end = 0;
        let mut infos = Vec::with_capacity(shapes.len());
        for Shape { name, dtype, shape } in shapes {
            let begin = end;
            end += shape.iter().product::<usize>() * dtype.bitsize() / 8;
            infos.push((name, TensorInfo { dtype, shape, data_offsets: (begin, end) }));
        }
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let mut header = serde_json::to_vec(&Metadata::new(Some(format), infos.clone())?)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let data = 8 + header.len() as u64;
        file.set_len(data + end as u64)?;
        file.write_all_at(&(header.len() as u64).to_le_bytes(), 0)?;
        file.write_all_at(&header, 8)?;
        let place = |(name, info): (String, TensorInfo)| {
            let (begin, end) = info.data_offsets;
            (name, (data + begin as u64, data + end as u64))
        };
        Ok(Body { file, places: infos.into_iter().map(place).collect(), piece: Vec::new() })
    }

    /// Appends bytes to a tensor of the header.
    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let (at, end) = self.places.get_mut(name).ok_or_else(|| anyhow!("the header has no tensor {name}"))?;
        let next = *at + bytes.len() as u64;
        ensure!(next <= *end, "tensor {name} has more values than its header says");
        self.file.write_all_at(bytes, *at)?;
        *at = next;
        Ok(())
    }

    /// Appends values to an f32 tensor of the header.
    pub(crate) fn put_f32(&mut self, name: &str, values: &[f32]) -> Result<()> {
        /// Values encoded at a time: large enough for few system calls, small enough to need little memory.
        const PIECE: usize = 64 << 10;
        for values in values.chunks(PIECE) {
            let mut piece = std::mem::take(&mut self.piece);
            piece.clear();
            piece.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            self.put(name, &piece)?;
            self.piece = piece;
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        let short = self.places.into_iter().find(|(_, (at, end))| at != end);
        ensure!(
            short.is_none(),
            "tensor {} has fewer values than its header says",
            short.map_or(String::new(), |s| s.0)
        );
        Ok(())
    }
}

/// Writes tensors to a safetensors file.
pub fn write(path: &Path, tensors: &BTreeMap<String, Encoded>) -> Result<()> {
    write_file(path, |file| encode(file, tensors))
}

/// Writes f32 tensors to a safetensors file.
pub fn write_f32(path: &Path, tensors: &HostTensors) -> Result<()> {
    write_file(path, |file| encode_f32(file, tensors))
}

/// Writes `bytes` to a file, atomically.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_file(path, |mut file| Ok(file.write_all(bytes)?))
}

/// Writes a safetensors file with these shapes; `values` supplies the values.
pub(crate) fn fill(file: &File, shapes: Vec<Shape>, values: impl FnOnce(&mut Body) -> Result<()>) -> Result<()> {
    let mut body = Body::begin(file, shapes)?;
    values(&mut body)?;
    body.end()
}

/// Writes a safetensors file of these tensors.
pub(crate) fn encode(file: &File, tensors: &BTreeMap<String, Encoded>) -> Result<()> {
    let shape = |(name, t): (&String, &Encoded)| Shape { name: name.clone(), dtype: t.dtype, shape: t.shape.clone() };
    fill(file, tensors.iter().map(shape).collect(), |body| {
        tensors.iter().try_for_each(|(name, t)| body.put(name, &t.bytes))
    })
}

/// Writes a safetensors file of these tensors, as f32.
pub(crate) fn encode_f32(file: &File, tensors: &HostTensors) -> Result<()> {
    let shape =
        |(name, t): (&String, &HostTensor)| Shape { name: name.clone(), dtype: Dtype::F32, shape: t.shape.clone() };
    fill(file, tensors.iter().map(shape).collect(), |body| {
        tensors.iter().try_for_each(|(name, t)| body.put_f32(name, &t.data))
    })
}

/// Writes the output of `content` to a file, atomically.
pub fn write_file(path: &Path, content: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    Draft::new(path, content)?.publish()?.sync()
}

/// The two files of a model or adapter: a config and the weights that it describes.
pub struct Pair {
    pub config: PathBuf,
    pub weights: PathBuf,
}

impl Pair {
    /// Replaces both files. A crash leaves the old model, the new one, or weights without a config, which
    /// cannot be loaded; never the weights of one model with the config of another.
    pub fn write(&self, config: &str, weights: impl FnOnce(&File) -> Result<()>) -> Result<()> {
        let weights = Draft::new(&self.weights, weights)?;
        let config = Draft::new(&self.config, |mut file| Ok(file.write_all(config.as_bytes())?))?;
        match fs::remove_file(&self.config) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("replacing {}", self.config.display()));
            }
            Err(_) => {}
            Ok(()) => Folder::of(&self.config).sync()?,
        }
        weights.publish()?.sync()?;
        config.publish()?.sync()
    }
}

/// A complete file under a temporary name, synced to disk.
struct Draft {
    path: PathBuf,
    file: NamedTempFile,
}

impl Draft {
    fn new(path: &Path, content: impl FnOnce(&File) -> Result<()>) -> Result<Self> {
        let write = || -> Result<NamedTempFile> {
            let dir = Folder::of(path).0;
            fs::create_dir_all(&dir)?;
            let file = tempfile::Builder::new().prefix(".writing-").tempfile_in(dir)?;
            content(file.as_file())?;
            // Temporary files are private; everyone who can read the folder should be able to read the model.
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        let file = write().with_context(|| format!("writing {}", path.display()))?;
        Ok(Draft { path: path.to_owned(), file })
    }

    /// Renames the file to its final name and replaces any existing file.
    fn publish(self) -> Result<Folder> {
        let persisted = self.file.persist(&self.path).map_err(|error| error.error);
        persisted.with_context(|| format!("writing {}", self.path.display()))?;
        Ok(Folder::of(&self.path))
    }
}

struct Folder(PathBuf);

impl Folder {
    fn of(path: &Path) -> Self {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        Folder(dir.unwrap_or(Path::new(".")).to_owned())
    }

    /// Syncs renames in the folder to disk.
    fn sync(&self) -> Result<()> {
        let sync = || File::open(&self.0)?.sync_all();
        sync().with_context(|| format!("writing into {}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        write_whole(&path, b"old").unwrap();
        write_whole(&path, b"new").unwrap();
        let failed = write_file(&path, |mut file| {
            file.write_all(b"half of it")?;
            anyhow::bail!("no more values")
        });
        assert_eq!(format!("{:#}", failed.unwrap_err()), format!("writing {}: no more values", path.display()));
        assert_eq!(fs::read(&path).unwrap(), b"new");
        // A rename cannot replace a folder.
        fs::create_dir(dir.path().join("blocked")).unwrap();
        assert!(write_whole(&dir.path().join("blocked"), b"x").is_err());
        assert_eq!(names(dir.path()), ["blocked", "config.json"]);
    }

    #[test]
    fn everyone_who_may_read_the_folder_may_read_the_model() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        write_f32(&path, &HostTensors::new()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn bytes_are_those_of_the_safetensors_library() {
        let dir = tempfile::tempdir().unwrap();
        let values = HostTensor { shape: vec![3, 1], data: vec![1.0, -2.0, 0.5] };
        let int8 = Encoded { dtype: Dtype::I8, shape: vec![5], bytes: vec![1, 2, 3, 4, 5] };
        let tensors = BTreeMap::from([
            ("a".to_owned(), int8),
            ("b".to_owned(), Encoded::f16(&values)),
            ("c".to_owned(), Encoded::f32(&values)),
            ("d".to_owned(), Encoded::f32(&HostTensor { shape: vec![0], data: vec![] })),
        ]);
        let path = dir.path().join("model.safetensors");
        write(&path, &tensors).unwrap();
        let views = tensors
            .iter()
            .map(|(name, t)| (name, safetensors::tensor::TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap()));
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        assert_eq!(fs::read(&path).unwrap(), safetensors::serialize(views, Some(format)).unwrap());
    }

    #[test]
    fn values_that_do_not_fit_the_header_are_never_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let pieces = |pieces: &[(&str, usize)]| {
            let shape = Shape { name: "a".into(), dtype: Dtype::F32, shape: vec![2, 2] };
            let values = |body: &mut Body| pieces.iter().try_for_each(|(name, n)| body.put_f32(name, &vec![1.0; *n]));
            write_file(&path, |file| fill(file, vec![shape], values)).map_err(|e| e.root_cause().to_string())
        };
        assert_eq!(pieces(&[("a", 3)]).unwrap_err(), "tensor a has fewer values than its header says");
        assert_eq!(pieces(&[("a", 3), ("a", 2)]).unwrap_err(), "tensor a has more values than its header says");
        assert_eq!(pieces(&[("b", 4)]).unwrap_err(), "the header has no tensor b");
        assert_eq!(names(dir.path()), Vec::<String>::new());
        pieces(&[("a", 3), ("a", 1)]).unwrap();
    }

    #[test]
    fn a_pair_that_fails_half_way_leaves_no_config_beside_other_weights() {
        let dir = tempfile::tempdir().unwrap();
        let pair = Pair { config: dir.path().join("config.json"), weights: dir.path().join("model.safetensors") };
        let weights = |bytes: &'static [u8]| move |mut file: &File| Ok(file.write_all(bytes)?);
        pair.write("old", weights(b"old")).unwrap();
        // Before any rename, the old model is complete.
        pair.write("new", |_| anyhow::bail!("the device failed")).unwrap_err();
        assert_eq!(names(dir.path()), ["config.json", "model.safetensors"]);
        assert_eq!(fs::read(&pair.config).unwrap(), b"old");
        // If the rename of the weights fails, the folder is as after a crash.
        fs::remove_file(&pair.weights).unwrap();
        fs::create_dir(&pair.weights).unwrap();
        pair.write("new", weights(b"new")).unwrap_err();
        assert_eq!(names(dir.path()), ["model.safetensors"]);
        fs::remove_dir(&pair.weights).unwrap();
        pair.write("new", weights(b"new")).unwrap();
        assert_eq!(fs::read(&pair.config).unwrap(), b"new");
        assert_eq!(fs::read(&pair.weights).unwrap(), b"new");
    }
}
