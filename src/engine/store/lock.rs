//! Who computes a stage: one process at a time, by a lock that the system drops when its holder dies.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cache::Cache;
use super::disk::{Change, Disk};
use super::error::CacheError;

/// Held while a stage is computed.
pub struct StageLock {
    /// Closed, and with it unlocked, after the file is removed.
    _file: File,
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Drop for StageLock {
    fn drop(&mut self) {
        // While the lock is still held, so that nobody can be holding a newer file of this name.
        let _ = self.disk.change(Change::Remove(&self.path));
    }
}

impl Cache {
    /// Take the lock of a fingerprint, waiting for whoever has it.
    pub fn lock(
        &self,
        fingerprint: &str,
        stopped: &dyn Fn() -> bool,
        on_wait: &dyn Fn(),
    ) -> Result<StageLock, CacheError> {
        let mut waited = false;
        loop {
            if let Some(lock) = self.try_lock(fingerprint)? {
                return Ok(lock);
            }
            if !std::mem::replace(&mut waited, true) {
                on_wait();
            }
            if stopped() {
                return Err(CacheError::Interrupted);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The lock of a fingerprint, unless somebody has it.
    pub(crate) fn try_lock(&self, fingerprint: &str) -> Result<Option<StageLock>, CacheError> {
        let path = self.dir().join("partial").join(format!("{fingerprint}.lock"));
        loop {
            let Some(file) = self.open_lock(&path)? else { continue };
            match file.try_lock() {
                // The holder before us removes the file: a lock on what is no longer there locks nothing.
                Ok(()) if same_file(&file, &path) => {
                    return Ok(Some(StageLock { _file: file, path, disk: self.disk().clone() }));
                }
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(CacheError::io("lock", &path, e)),
            }
        }
    }

    /// The lock file, made where it is missing; none when its last holder removed it meanwhile.
    fn open_lock(&self, path: &Path) -> Result<Option<File>, CacheError> {
        // A link would have us make a file wherever it leads. No holder ever leaves anything but a file.
        if fs::symlink_metadata(path).is_ok_and(|m| !m.is_file()) {
            self.change("clear the lock", Change::Remove(path))?;
        }
        self.change("open the lock", Change::Touch(path))?;
        match OpenOptions::new().write(true).open(path) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(CacheError::io("open the lock", path, e)),
        }
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}
