//! `archive-outbox/ARCHIVE/FINGERPRINT`: which results still have to reach an archive; the next run delivers what a
//! killed run left.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use crate::store::artifact::is_digest;
use crate::store::cache::Cache;
use crate::store::disk::{Change, Disk};
use crate::store::error::CacheError;

/// One empty file per result, in a folder per archive.
pub(crate) struct Outbox {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Outbox {
    /// The outbox of a cache for the archive of this name.
    pub(crate) fn of(cache: &Cache, archive: &str) -> Self {
        let id = blake3::hash(archive.as_bytes()).to_hex();
        Self { dir: cache.dir().join("archive-outbox").join(&id[..16]), disk: cache.disk().clone() }
    }

    /// The results that are due: those that the cache has. Marks without a result are removed, unless a process is
    /// making the result.
    pub(crate) fn due(&self, cache: &Cache) -> Result<BTreeSet<String>, CacheError> {
        let mut due = BTreeSet::new();
        for file in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let fingerprint = file.file_name().to_string_lossy().into_owned();
            if !is_digest(&fingerprint) {
                continue;
            }
            if cache.entry(&fingerprint)?.is_some() {
                due.insert(fingerprint);
            } else if let Some(_lock) = cache.try_lock(&fingerprint)? {
                self.settle(&fingerprint);
            }
        }
        Ok(due)
    }

    /// Note that a result has to be delivered, before it is made.
    pub(crate) fn expect(&self, fingerprint: &str) -> Result<(), CacheError> {
        if !self.dir.is_dir() {
            self.change("create", Change::CreateDirAll(&self.dir))?;
            for above in self.dir.ancestors().skip(1).take(2) {
                self.change("sync", Change::SyncDir(above))?;
            }
        }
        self.change("write", Change::Touch(&self.dir.join(fingerprint)))?;
        self.change("sync", Change::SyncDir(&self.dir))
    }

    /// Forget a result that was delivered, or that cannot be. A failure only makes a later run ask the archive again.
    pub(crate) fn settle(&self, fingerprint: &str) {
        let _ = self.disk.change(Change::Remove(&self.dir.join(fingerprint)));
    }

    fn change(&self, what: &'static str, change: Change<'_>) -> Result<(), CacheError> {
        self.disk.change(change).map_err(|e| CacheError::io(what, change.path(), e))
    }
}
