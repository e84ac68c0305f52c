//! Saves the state of an unfinished fit to disk, completely or not at all, and verifies it before use.
//!
//! A file consists of `MAGIC`, the length of a JSON head, the head, all tensors as little-endian f32 in the head's
//! order, and the blake3 hash of everything before. The folder keeps two checkpoints: `fit.checkpoint` and the one
//! before it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 16] = b"pipe-checkpoint\x01";
const DIGEST: usize = 32;
/// Values converted to bytes at a time: large enough for hashing and writing to run at full speed.
const PIECE: usize = 64 * 1024;

/// A folder that holds the checkpoints of one fit.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// Named rows of numbers: weights, moments, the best weights so far.
pub type Tensors = BTreeMap<String, Vec<f32>>;

#[derive(Serialize, Deserialize)]
struct Head<S> {
    state: S,
    tensors: Vec<(String, usize)>,
}

/// The name of the newest checkpoint in its folder.
pub const CHECKPOINT: &str = "fit.checkpoint";

impl Checkpoints {
    /// Use `folder`; create it if it does not exist.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the checkpoint folder {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn current(&self) -> PathBuf {
        self.folder.join(CHECKPOINT)
    }

    fn before(&self) -> PathBuf {
        self.folder.join("fit.checkpoint.before")
    }

    /// Write and fsync a checkpoint, then move it into place. The current one becomes the previous one.
    pub fn write(&self, state: &impl Serialize, tensors: &Tensors) -> Result<()> {
        let temporary = self.folder.join("fit.checkpoint.new");
        self.write_file(&temporary, state, tensors)
            .and_then(|()| {
                if self.current().exists() {
                    fs::rename(self.current(), self.before())?;
                }
                fs::rename(&temporary, self.current())?;
                File::open(&self.folder)?.sync_all().or_else(|error| if cfg!(unix) { Err(error) } else { Ok(()) })?;
                Ok(())
            })
            .with_context(|| format!("cannot write a checkpoint to {}", self.folder.display()))
    }

    fn write_file(&self, path: &Path, state: &impl Serialize, tensors: &Tensors) -> Result<()> {
        let names = tensors.iter().map(|(name, values)| (name.clone(), values.len())).collect();
        let head = serde_json::to_vec(&Head { state, tensors: names })?;
        let mut out = Hashing { file: BufWriter::new(File::create(path)?), hasher: blake3::Hasher::new() };
        out.put(MAGIC)?;
        out.put(&(head.len() as u64).to_le_bytes())?;
        out.put(&head)?;
        let mut bytes = Vec::with_capacity(PIECE * 4);
        for values in tensors.values() {
            for piece in values.chunks(PIECE) {
                bytes.clear();
                bytes.extend(piece.iter().flat_map(|x| x.to_le_bytes()));
                out.put(&bytes)?;
            }
        }
        let digest = out.hasher.finalize();
        out.file.write_all(digest.as_bytes())?;
        out.file.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        Ok(())
    }

    /// The newest intact checkpoint, if there is one, and a warning for each checkpoint that cannot be used.
    pub fn read<S: DeserializeOwned>(&self) -> (Option<(S, Tensors)>, Vec<String>) {
        let mut warnings = Vec::new();
        for path in [self.current(), self.before()] {
            match read_file(&path) {
                Ok(Some(found)) => return (Some(found), warnings),
                Ok(None) => {}
                Err(error) => {
                    warnings.push(format!("ignoring checkpoint {}: {error:#}", path.display()));
                    // Move it aside, so that the next write does not overwrite the intact previous checkpoint with it.
                    let _ = fs::rename(&path, path.with_extension("damaged"));
                }
            }
        }
        (None, warnings)
    }
}

struct Hashing {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
}

impl Hashing {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        Ok(self.file.write_all(bytes)?)
    }
}

fn read_file<S: DeserializeOwned>(path: &Path) -> Result<Option<(S, Tensors)>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
        Ok(mut file) => file.read_to_end(&mut bytes)?,
    };
    let damaged = || anyhow!("the file is damaged");
    let (body, digest) = bytes.split_last_chunk::<DIGEST>().ok_or_else(damaged)?;
    ensure!(blake3::hash(body).as_bytes() == digest, "the file is damaged (its checksum differs)");
    let body = body.strip_prefix(MAGIC).ok_or_else(|| anyhow!("it has another format version"))?;
    let (length, body) = body.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (head, mut body) = body.split_at_checked(u64::from_le_bytes(*length) as usize).ok_or_else(damaged)?;
    let head: Head<S> = serde_json::from_slice(head).context("cannot parse its head")?;
    let mut tensors = Tensors::new();
    for (name, length) in head.tensors {
        let (values, rest) =
            length.checked_mul(4).and_then(|length| body.split_at_checked(length)).ok_or_else(damaged)?;
        let values = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        tensors.insert(name, values);
        body = rest;
    }
    Ok(Some((head.state, tensors)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(checkpoints: &Checkpoints, step: u64) {
        let tensors =
            Tensors::from([("a".to_owned(), vec![step as f32, f32::MIN_POSITIVE, -0.0]), ("b".to_owned(), vec![])]);
        checkpoints.write(&step, &tensors).unwrap();
    }

    fn step(checkpoints: &Checkpoints) -> (Option<u64>, usize) {
        let (found, notes) = checkpoints.read::<u64>();
        if let Some((step, tensors)) = &found {
            assert_eq!(tensors["a"], [*step as f32, f32::MIN_POSITIVE, -0.0]);
        }
        (found.map(|(step, _)| step), notes.len())
    }

    #[test]
    fn the_latest_is_read_and_a_damaged_one_falls_back() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        assert_eq!(step(&checkpoints), (None, 0));
        for n in 1..=3 {
            write(&checkpoints, n);
            assert_eq!(step(&checkpoints), (Some(n), 0));
        }
        let whole = fs::read(checkpoints.current()).unwrap();
        for at in [0, 20, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(checkpoints.current(), bytes).unwrap();
            assert_eq!(step(&checkpoints), (Some(2), 1));
        }
        fs::write(checkpoints.current(), &whole[..whole.len() - 5]).unwrap();
        assert_eq!(step(&checkpoints), (Some(2), 1));
        assert_eq!(step(&checkpoints), (Some(2), 0)); // Also after a kill between the renames.
        fs::write(checkpoints.before(), b"").unwrap();
        assert_eq!(step(&checkpoints), (None, 1));
    }
}
