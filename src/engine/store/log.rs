//! The files in `runs/`: each run appends its events to one, and holds its lock until it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::cache::Cache;
use super::disk::Change;
use super::error::CacheError;
use super::partial::is_folder;

/// The end of the name of every log.
const SUFFIX: &str = ".jsonl";

/// A process locks a log right after creating it: one younger than this may be about to be locked.
const NEW: Duration = Duration::from_secs(1);

/// A log that this process writes.
pub(crate) struct Appender {
    path: PathBuf,
    /// Closing it releases the lock, in whatever way the process ends.
    file: File,
}

impl Appender {
    /// Append these bytes with one call, so that another process can read them at once.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        self.file.write_all(bytes).map_err(|e| CacheError::io("write", &self.path, e))
    }
}

impl Cache {
    /// The log of the run with this id.
    pub(crate) fn log_path(&self, id: &str) -> PathBuf {
        self.dir().join("runs").join(format!("{id}{SUFFIX}"))
    }

    /// Create and lock the log of a new run.
    pub(crate) fn create_log(&self, id: &str) -> Result<Appender, CacheError> {
        let (path, dir) = (self.log_path(id), self.dir().join("runs"));
        // A link would lead out of the cache. Another process may create the folder at the same time.
        if !is_folder(&dir) {
            self.change("create", Change::CreateDir(&dir))
                .or_else(|e| if is_folder(&dir) { Ok(()) } else { Err(e) })?;
        }
        self.change("create", Change::Touch(&path))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| CacheError::io("open", &path, e))?;
        file.lock().map_err(|e| CacheError::io("lock", &path, e))?;
        Ok(Appender { path, file })
    }

    /// The ids of the runs that have a log, oldest first.
    pub(crate) fn log_ids(&self) -> Result<Vec<String>, CacheError> {
        let dir = self.dir().join("runs");
        let read = || -> io::Result<Vec<String>> {
            let names = fs::read_dir(&dir)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
            names.collect()
        };
        let mut ids: Vec<String> = match read() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            names => names.map_err(|e| CacheError::io("read the folder", &dir, e))?,
        };
        ids.retain_mut(|name| name.strip_suffix(SUFFIX).map(str::to_string).map(|id| *name = id).is_some());
        ids.sort();
        Ok(ids)
    }

    /// Remove the oldest logs of ended runs until at most `most` logs are left. A log that cannot be removed stays.
    pub(crate) fn trim_logs(&self, most: usize) -> Result<(), CacheError> {
        let ids = self.log_ids()?;
        let extra = ids.len().saturating_sub(most);
        for path in ids.iter().map(|id| self.log_path(id)).filter(|path| !is_written(path)).take(extra) {
            let _ = self.disk().change(Change::Remove(&path));
        }
        Ok(())
    }
}

/// Whether a run still writes this log.
pub(crate) fn is_written(path: &Path) -> bool {
    // Another program may have put anything here; opening a pipe would block.
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    let Some(file) = Some(metadata.is_file()).filter(|is| *is).and_then(|_| File::open(path).ok()) else {
        return false;
    };
    let age = metadata.created().or_else(|_| metadata.modified()).map(|at| SystemTime::now().duration_since(at));
    let is_new = metadata.len() == 0 && matches!(age, Ok(Ok(age)) if age < NEW);
    // A shared lock: two readers do not take each other for the writer.
    is_new || matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}
