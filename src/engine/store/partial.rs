//! `partial/FINGERPRINT`: the working folder of a stage until its result is committed; kept if the stage stops or is
//! killed.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::artifact::walk;
use super::cache::Cache;
use super::disk::{Change, Disk};
use super::error::CacheError;

/// A partial folder. Its user must hold the lock of the fingerprint.
#[derive(Clone)]
pub struct Partial {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Cache {
    pub fn partial(&self, fingerprint: &str) -> Partial {
        Partial { dir: self.dir().join("partial").join(fingerprint), disk: self.disk().clone() }
    }
}

impl Partial {
    /// The outputs that are committed on success, one folder per port.
    pub fn out(&self) -> PathBuf {
        self.dir.join("out")
    }

    /// Checkpoints for the next attempt.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// One empty file for each result of the stage's trials, named by its fingerprint, until the stage's own entry
    /// refers to them.
    fn trials(&self) -> PathBuf {
        self.dir.join("trials")
    }

    /// Record that the stage refers to a result of one of its trials.
    pub(crate) fn refer(&self, fingerprint: &str) -> io::Result<()> {
        self.folder(&self.trials())?;
        self.disk.change(Change::Touch(&self.trials().join(fingerprint)))
    }

    /// The results of trials that an unfinished stage refers to.
    pub(crate) fn referred(&self) -> Vec<String> {
        let found = fs::read_dir(self.trials()).into_iter().flatten().flatten();
        found.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The root of the project that works here.
    fn project(&self) -> PathBuf {
        self.dir.join("project")
    }

    /// Record whose work this is, for collections of other projects that share the cache.
    pub(crate) fn claim(&self, root: &Path) -> Result<(), CacheError> {
        let (path, bytes) = (&self.project(), root.as_os_str().as_bytes());
        if fs::read(path).is_ok_and(|found| found == bytes) && !path.is_symlink() {
            return Ok(());
        }
        self.remove(path)?;
        self.disk.change(Change::Write { path, bytes }).map_err(|e| CacheError::io("write", path, e))
    }

    /// The root of the project that worked here last; None if an older program did.
    pub fn owner(&self) -> Option<PathBuf> {
        let bytes = fs::read(self.project()).ok().filter(|bytes| !bytes.is_empty())?;
        Some(PathBuf::from(OsString::from_vec(bytes)))
    }

    /// The entry is written here before it is renamed into place.
    pub(crate) fn entry(&self) -> PathBuf {
        self.dir.join("entry.json")
    }

    /// Prepare the folder for an attempt: keep the last checkpoints, remove old outputs and anything that could lead
    /// elsewhere.
    pub fn prepare(&self) -> Result<(), CacheError> {
        if !is_folder(&self.dir) {
            self.remove(&self.dir)?;
        }
        self.remove(&self.out())?;
        self.remove(&self.entry())?;
        if fs::symlink_metadata(self.trials()).is_ok() && !is_folder(&self.trials()) {
            self.remove(&self.trials())?;
        }
        if fs::symlink_metadata(self.work()).is_ok() && !(is_folder(&self.work()) && walk(&self.work()).is_ok()) {
            self.remove(&self.work())?;
        }
        self.folder(&self.out()).map_err(|e| CacheError::io("create", &self.out(), e))
    }

    /// Put files into the work folder, each whole or not at all, unless an earlier attempt left some there.
    pub(crate) fn begin_with(&self, files: &Path) -> Result<(), CacheError> {
        let work = self.work();
        if fs::read_dir(&work).is_ok_and(|mut found| found.next().is_some()) {
            return Ok(());
        }
        self.folder(&work).map_err(|e| CacheError::io("create", &work, e))?;
        for file in fs::read_dir(files).map_err(|e| CacheError::io("read", files, e))? {
            let from = file.map_err(|e| CacheError::io("read", files, e))?.path();
            let (copy, to) = (&self.dir.join("copy"), &work.join(from.file_name().unwrap_or_default()));
            let changes =
                [Change::Remove(copy), Change::Copy { from: &from, to: copy }, Change::Rename { from: copy, to }];
            for change in changes {
                self.disk.change(change).map_err(|e| CacheError::io("copy", &from, e))?;
            }
        }
        Ok(())
    }

    /// Replace a file that has other hard links by a copy: pipe must not make the other links read-only.
    pub(crate) fn own(&self, file: &Path) -> io::Result<()> {
        if fs::symlink_metadata(file)?.nlink() == 1 {
            return Ok(());
        }
        let copy = &self.dir.join("copy");
        self.disk.change(Change::Remove(copy))?;
        self.disk.change(Change::Copy { from: file, to: copy })?;
        self.disk.change(Change::Rename { from: copy, to: file })
    }

    /// Create a folder inside the partial folder.
    pub fn folder(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() { Ok(()) } else { self.disk.change(Change::CreateDirAll(dir)) }
    }

    /// Remove the folder after the commit; a failure only leaves garbage.
    pub fn clear(&self) {
        let _ = self.disk.change(Change::Remove(&self.dir));
    }

    fn remove(&self, path: &Path) -> Result<(), CacheError> {
        match fs::symlink_metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => self.disk.change(Change::Remove(path)).map_err(|e| CacheError::io("remove", path, e)),
        }
    }
}

/// Whether the path is a folder and not a link to one.
pub(crate) fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}
