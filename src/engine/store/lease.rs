//! What running processes rely on, so that nothing is collected under their hands.
//!
//! A process that uses results has a file of its own in `leases/`, locked as long as it lives, and writes the fingerprint
//! of each result there before it counts on it. It does so, and commits, under a shared lock of the cache; `collect`
//! takes that lock alone. So a result is either gone before it is judged, or leased before it could be collected.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::cache::Cache;
use super::disk::Change;
use super::error::CacheError;

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Held by a process while it uses results of the cache.
pub struct Lease<'a> {
    cache: &'a Cache,
    file: Mutex<Option<(PathBuf, File)>>,
}

/// The cache is not being collected while this lives. Without a file it can only be read, and so not collected at all.
pub struct Shared(Option<File>);

/// Nobody else judges, commits or collects while this lives.
pub struct Alone(#[expect(dead_code, reason = "unlocked when it is closed")] File);

impl Cache {
    fn lock_path(&self) -> PathBuf {
        self.dir().join("lock")
    }

    fn leases(&self) -> PathBuf {
        self.dir().join("leases")
    }

    /// For a process that is going to use results; nothing is written before it names one.
    pub fn lease(&self) -> Lease<'_> {
        Lease { cache: self, file: Mutex::new(None) }
    }

    /// Keep collections away while results are judged or committed: moments, never the time that a stage takes.
    pub fn shared(&self) -> Result<Shared, CacheError> {
        let path = self.lock_path();
        let file = match OpenOptions::new().read(true).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => match self.disk().change(Change::Touch(&path)) {
                Ok(()) => File::open(&path),
                // A cache that cannot be written cannot be collected either.
                Err(_) => return Ok(Shared(None)),
            },
            other => other,
        };
        let file = file.map_err(|e| CacheError::io("open", &path, e))?;
        file.lock_shared().map_err(|e| CacheError::io("lock", &path, e))?;
        Ok(Shared(Some(file)))
    }

    /// Wait until nobody judges or commits, and keep it so.
    pub(crate) fn alone(&self) -> Result<Alone, CacheError> {
        let path = self.lock_path();
        self.change("open", Change::Touch(&path))?;
        let file = File::open(&path).map_err(|e| CacheError::io("open", &path, e))?;
        file.lock().map_err(|e| CacheError::io("lock", &path, e))?;
        Ok(Alone(file))
    }

    /// The fingerprints that living processes rely on, or none where no process lives; leases of the dead are removed.
    pub(crate) fn leased(&self, _: &Alone) -> Result<Option<HashSet<String>>, CacheError> {
        let dir = self.leases();
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|e| CacheError::io("read the folder", &dir, e))?,
        };
        let mut all: Option<HashSet<String>> = None;
        for entry in entries {
            let path = entry.map_err(|e| CacheError::io("read the folder", &dir, e))?.path();
            if is_alive(&path)? {
                let text = match fs::read_to_string(&path) {
                    // Its process ended just now.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    other => other.map_err(|e| CacheError::io("read", &path, e))?,
                };
                all.get_or_insert_default().extend(text.lines().map(str::to_string));
            } else {
                self.change("remove", Change::Remove(&path))?;
            }
        }
        Ok(all)
    }
}

/// The lock of a lease goes with its process, however that ends.
fn is_alive(path: &Path) -> Result<bool, CacheError> {
    if !fs::symlink_metadata(path).is_ok_and(|m| m.is_file()) {
        return Ok(false);
    }
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(|e| CacheError::io("open", path, e))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(CacheError::io("lock", path, e)),
    }
}

impl Lease<'_> {
    /// Keep these results from being collected; only while `Shared` lives is it certain that they are still there.
    pub fn keep(&self, fingerprints: &[String], shared: &Shared) -> Result<(), CacheError> {
        if shared.0.is_none() || fingerprints.is_empty() {
            return Ok(());
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (path, file) = match &mut *file {
            Some(open) => open,
            none => none.insert(self.open()?),
        };
        let text = fingerprints.iter().fold(String::new(), |text, f| text + f + "\n");
        file.write_all(text.as_bytes()).map_err(|e| CacheError::io("write", path, e))
    }

    /// A new file, locked.
    fn open(&self) -> Result<(PathBuf, File), CacheError> {
        let dir = self.cache.leases();
        // Process numbers come again, and two machines or containers may have the same one.
        let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let path = dir.join(format!("{}-{moment}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        self.cache.change("create", Change::CreateDirAll(&dir))?;
        self.cache.change("write", Change::Touch(&path))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| CacheError::io("write", &path, e))?;
        file.lock().map_err(|e| CacheError::io("lock", &path, e))?;
        Ok((path, file))
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some((path, _)) = self.file.get_mut().unwrap_or_else(PoisonError::into_inner) {
            let _ = self.cache.disk().change(Change::Remove(path));
        }
    }
}
