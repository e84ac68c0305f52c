//! Content digests of files, and a cache of them by stat so that unchanged big inputs are not read again.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::disk::{Change, Disk};

/// Files from this size on are memory-mapped and hashed by all cores; below it that costs more than it saves.
const PARALLEL_FROM: u64 = 1 << 20;

/// A file changed within this time of being read may change again without its stat showing it.
const RACY: Duration = Duration::from_secs(2);

/// blake3 of a file's bytes, hexadecimal.
pub fn file(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    if file.metadata()?.len() >= PARALLEL_FROM {
        hasher.update_mmap_rayon(path)?;
    } else {
        hasher.update_reader(&file)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stat {
    size: u64,
    mtime: i64,
    mtime_nsec: i64,
    ctime: i64,
    ctime_nsec: i64,
    inode: u64,
    device: u64,
}

impl Stat {
    fn of(m: &Metadata) -> Self {
        Self {
            size: m.size(),
            mtime: m.mtime(),
            mtime_nsec: m.mtime_nsec(),
            ctime: m.ctime(),
            ctime_nsec: m.ctime_nsec(),
            inode: m.ino(),
            device: m.dev(),
        }
    }

    /// Whether the file was left alone long enough before `now` for its stat to tell changes.
    fn settled(&self, now: SystemTime) -> bool {
        let last = self.mtime.max(self.ctime);
        match now.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => since.as_secs() as i64 > last + RACY.as_secs() as i64,
            Err(_) => false,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    stat: Stat,
    digest: String,
}

/// Digests by path, kept in one JSON file. Losing it costs time and nothing else.
pub struct StatCache {
    file: PathBuf,
    disk: Arc<dyn Disk>,
    known: Mutex<(HashMap<PathBuf, Known>, bool)>,
}

impl StatCache {
    pub fn open(file: PathBuf, disk: Arc<dyn Disk>) -> Self {
        let known = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { file, disk, known: Mutex::new((known, false)) }
    }

    /// The digest of a file, from its stat where that is known.
    pub fn digest(&self, path: &Path) -> io::Result<String> {
        let stat = Stat::of(&std::fs::metadata(path)?);
        if let Some(known) = self.lock().0.get(path).filter(|k| k.stat == stat) {
            return Ok(known.digest.clone());
        }
        let now = SystemTime::now();
        let digest = file(path)?;
        let after = Stat::of(&std::fs::metadata(path)?);
        if after == stat && stat.settled(now) {
            let mut guard = self.lock();
            guard.0.insert(path.to_path_buf(), Known { stat, digest: digest.clone() });
            guard.1 = true;
        }
        Ok(digest)
    }

    /// Write what was learnt. Best effort: another process may win, and then this one's digests are computed again.
    pub fn save(&self) -> io::Result<()> {
        let mut guard = self.lock();
        if !guard.1 {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&guard.0)?;
        let dir = self.file.parent().unwrap_or(Path::new("."));
        let write = |path: &Path| self.disk.change(Change::Write { path, bytes: &bytes });
        let temp = tempfile::Builder::new().disable_cleanup(true).make_in(dir, write)?;
        let renamed = self.disk.change(Change::Rename { from: temp.path(), to: &self.file });
        match renamed {
            Ok(()) => guard.1 = false,
            Err(_) => self.disk.change(Change::Remove(temp.path()))?,
        }
        renamed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (HashMap<PathBuf, Known>, bool)> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
