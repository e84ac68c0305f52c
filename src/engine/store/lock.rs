//! The lock of a stage: one process computes it at a time, and the system releases the lock if that process dies.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cache::Cache;
use super::disk::{Change, Disk};
use super::error::CacheError;

/// Held while a stage runs.
pub struct StageLock {
    /// Closed, and so unlocked, after the file is removed.
    _file: File,
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Drop for StageLock {
    fn drop(&mut self) {
        // Remove the file while the lock is held: no process can hold a newer file of this name.
        let _ = self.disk.change(Change::Remove(&self.path));
    }
}

impl Cache {
    /// Take the lock of a fingerprint; wait while another process has it.
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

    /// Take the lock of a fingerprint; None if another process has it.
    pub(crate) fn try_lock(&self, fingerprint: &str) -> Result<Option<StageLock>, CacheError> {
        let path = self.dir().join("partial").join(format!("{fingerprint}.lock"));
        loop {
            let Some(file) = self.open_lock(&path)? else { continue };
            match file.try_lock() {
                // The previous holder removes the file: a lock on a removed file locks nothing.
                Ok(()) if same_file(&file, &path) => {
                    return Ok(Some(StageLock { _file: file, path, disk: self.disk().clone() }));
                }
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(CacheError::io("lock", &path, e)),
            }
        }
    }

    /// Open the lock file, creating it if it is missing; None if its last holder removed it meanwhile.
    fn open_lock(&self, path: &Path) -> Result<Option<File>, CacheError> {
        // A link would make us create a file at its target. Holders never leave anything but a file.
        if fs::symlink_metadata(path).is_ok_and(|m| !m.is_file()) {
            self.change("remove the invalid lock", Change::Remove(path))?;
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
