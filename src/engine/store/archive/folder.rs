//! An archive in a folder, laid out as a cache: `objects/ab/cdef…` and `entries/FINGERPRINT.json`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::seam::{Archive, Blob, Item};
use crate::store::digest;
use crate::store::disk::{Change, Disk};

/// Bytes per read: large enough for a network file system.
const CHUNK: usize = 1 << 20;

/// A temporary file that is older belongs to a process that was killed.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

static COUNT: AtomicU64 = AtomicU64::new(0);

/// A folder that exists, on any file system that every user of the archive can reach.
pub struct Folder {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    /// Folders with new objects whose names are not synced yet.
    unsynced: Mutex<BTreeSet<PathBuf>>,
    is_tidy: AtomicBool,
}

impl Folder {
    /// The archive in a folder. The folder has to exist when the archive is first asked: a share that is not mounted
    /// must not be taken for an empty archive.
    pub fn open(root: impl Into<PathBuf>, disk: Arc<dyn Disk>) -> Self {
        Self { root: root.into(), disk, unsynced: Mutex::default(), is_tidy: AtomicBool::new(false) }
    }

    fn object(&self, digest: &str) -> PathBuf {
        let (start, rest) = digest.split_at_checked(2).unwrap_or((digest, ""));
        self.root.join("objects").join(start).join(rest)
    }

    fn entry_path(&self, fingerprint: &str) -> PathBuf {
        self.root.join("entries").join(format!("{fingerprint}.json"))
    }

    /// Open the regular file at a path; None if there is nothing. Anything else counts as an empty file, which its
    /// reader will find wrong. Links are never followed.
    fn read(&self, path: &Path) -> io::Result<Option<Box<dyn Read>>> {
        match fs::symlink_metadata(path) {
            Ok(m) if !m.is_file() => return Ok(Some(Box::new(io::empty()))),
            Ok(_) => {}
            Err(e) if is_absent(&e) => return self.reachable().map(|()| None),
            Err(e) => return Err(e),
        }
        match File::open(path) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(e) if is_absent(&e) => self.reachable().map(|()| None),
            Err(e) => Err(e),
        }
    }

    fn reachable(&self) -> io::Result<()> {
        if self.root.is_dir() {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, "the folder does not exist"))
        }
    }

    /// Create a folder of the archive, but not the archive's own folder.
    fn create(&self, dir: &Path) -> io::Result<()> {
        self.reachable()?;
        if dir.is_dir() {
            return Ok(());
        }
        self.disk.change(Change::CreateDirAll(dir))?;
        self.sync_later(dir.parent().unwrap_or(&self.root));
        Ok(())
    }

    fn sync_later(&self, dir: &Path) {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_path_buf());
    }

    fn sync(&self) -> io::Result<()> {
        let dirs = std::mem::take(&mut *self.unsynced.lock().unwrap_or_else(PoisonError::into_inner));
        for (n, dir) in dirs.iter().enumerate() {
            if let Err(e) = self.disk.change(Change::SyncDir(dir)) {
                dirs.iter().skip(n).for_each(|dir| self.sync_later(dir));
                return Err(e);
            }
        }
        Ok(())
    }

    /// A path that no other process uses, on the same file system as the objects.
    fn temp(&self, name: &str) -> io::Result<PathBuf> {
        let dir = self.root.join("incoming");
        self.create(&dir)?;
        if !self.is_tidy.swap(true, Ordering::Relaxed) {
            self.tidy(&dir);
        }
        // Two machines may use the same process id.
        let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let unique = format!("{name}.{}-{moment}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Ok(dir.join(unique))
    }

    /// Remove what killed processes left. A failure only leaves garbage.
    fn tidy(&self, dir: &Path) {
        let is_abandoned = |m: fs::Metadata| m.modified().ok()?.elapsed().ok().map(|age| age > ABANDONED);
        for file in fs::read_dir(dir).into_iter().flatten().flatten() {
            if file.metadata().ok().and_then(is_abandoned) == Some(true) {
                let _ = self.disk.change(Change::Remove(&file.path()));
            }
        }
    }

    /// Put a finished temporary file in place; false if something has its name already.
    fn publish(&self, temp: &Path, to: &Path) -> io::Result<bool> {
        self.disk.change(Change::SyncFile(temp))?;
        let placed = match self.disk.change(Change::Link { from: temp, to }) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            // Some file systems do not support hard links. There, the last of two processes that store the same name in
            // the same moment wins.
            Err(_) if fs::symlink_metadata(to).is_ok() => false,
            Err(_) => self.disk.change(Change::Rename { from: temp, to }).map(|()| true)?,
        };
        self.sync_later(to.parent().unwrap_or(&self.root));
        Ok(placed)
    }

    fn copy_in(&self, blob: &Blob, from: &Path, temp: &Path, to: &Path) -> io::Result<bool> {
        self.disk.change(Change::Copy { from, to: temp })?;
        if digest::file(temp)? != blob.digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the bytes changed while they were copied"));
        }
        self.disk.change(Change::Mode { path: temp, mode: 0o444 })?;
        self.publish(temp, to)
    }

    fn write_in(&self, bytes: &[u8], temp: &Path, to: &Path) -> io::Result<bool> {
        self.disk.change(Change::Write { path: temp, bytes })?;
        self.publish(temp, to)
    }

    fn remove_temp(&self, temp: &Path) {
        if fs::symlink_metadata(temp).is_ok() {
            let _ = self.disk.change(Change::Remove(temp));
        }
    }
}

impl Archive for Folder {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn entry(&self, fingerprint: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(mut file) = self.read(&self.entry_path(fingerprint))? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn missing(&self, blobs: &[Blob]) -> io::Result<Vec<Blob>> {
        let mut missing = Vec::new();
        for blob in blobs {
            let path = self.object(&blob.digest);
            let is_there = fs::symlink_metadata(&path).is_ok_and(|m| m.is_file() && m.len() == blob.size);
            if !is_there {
                missing.push(blob.clone());
            }
        }
        self.reachable().map(|()| missing)
    }

    fn fetch(&self, digest: &str, into: &mut dyn Write) -> io::Result<bool> {
        let Some(mut file) = self.read(&self.object(digest))? else { return Ok(false) };
        let mut buffer = vec![0; CHUNK];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(true),
                n => into.write_all(&buffer[..n])?,
            }
        }
    }

    fn store(&self, blob: &Blob, from: &Path) -> io::Result<()> {
        let to = self.object(&blob.digest);
        match fs::symlink_metadata(&to) {
            Ok(m) if m.is_file() && m.len() == blob.size => return Ok(()),
            Ok(_) => self.set_aside(Item::Object(&blob.digest))?,
            Err(_) => self.create(to.parent().unwrap_or(&self.root))?,
        }
        let temp = self.temp(&blob.digest)?;
        let stored = self.copy_in(blob, from, &temp, &to);
        self.remove_temp(&temp);
        stored.map(drop)
    }

    fn store_entry(&self, fingerprint: &str, bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let to = self.entry_path(fingerprint);
        // An entry must never be safer than its objects.
        self.sync()?;
        self.create(to.parent().unwrap_or(&self.root))?;
        let temp = self.temp(fingerprint)?;
        let stored = self.write_in(bytes, &temp, &to);
        self.remove_temp(&temp);
        let is_new = stored?;
        self.sync()?;
        if is_new { Ok(None) } else { self.entry(fingerprint) }
    }

    fn set_aside(&self, item: Item<'_>) -> io::Result<()> {
        let (path, name) = match item {
            Item::Object(digest) => (self.object(digest), format!("object-{digest}")),
            Item::Entry(fingerprint) => (self.entry_path(fingerprint), format!("entry-{fingerprint}.json")),
        };
        let dir = self.root.join("damaged");
        self.create(&dir)?;
        // Never overwrite a file that was moved here before.
        let names = std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}.{n}")));
        let aside = names.map(|n| dir.join(n)).find(|p| fs::symlink_metadata(p).is_err()).unwrap_or_default();
        match self.disk.change(Change::Rename { from: &path, to: &aside }) {
            Err(e) if is_absent(&e) => Ok(()),
            other => other,
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
