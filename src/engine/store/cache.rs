//! Objects and entries on disk: written atomically, verified when read, locked against other processes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::archive::seam::Blob;
use super::artifact::{Artifact, ArtifactFile, is_digest, walk};
use super::digest;
use super::disk::{Change, Disk, Os};
use super::entry::Entry;
use super::error::{CacheError, Damaged, EIO, is_read_only};
use super::manifest::Manifest;

pub struct Cache {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    /// Objects that this process has verified, each with the identity of the file it read.
    verified: Mutex<HashMap<String, Identity>>,
    /// Object folders whose directory entry this process knows to be on disk.
    synced: Mutex<HashSet<PathBuf>>,
    /// Files that were moved away while a fingerprint was judged, by fingerprint.
    damaged: Mutex<HashMap<String, Damaged>>,
}

/// Distinguishes a file from one that replaced it or was modified since. The ctime is left out because links change it.
type Identity = (u64, u64, u64, i64, i64);

fn identity(m: &Metadata) -> Identity {
    (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec())
}

/// What is at the path of an object.
enum Place {
    Missing,
    File(Metadata),
    /// This path (the object or its folder) is not a regular file or folder. Links are never followed.
    Foreign(PathBuf),
}

impl Cache {
    /// Open a cache folder and create it if it is missing. A cache that cannot be written can still be read.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        Self::open_on(dir, Arc::new(Os))
    }

    pub fn open_on(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, CacheError> {
        let cache = Self {
            dir: dir.to_path_buf(),
            disk,
            verified: Mutex::default(),
            synced: Mutex::default(),
            damaged: Mutex::default(),
        };
        let mut is_new = false;
        if let Ok(to) = fs::read_link(dir)
            && !dir.exists()
        {
            return Err(CacheError::DanglingLink { path: dir.into(), to });
        }
        for sub in ["objects", "entries", "partial", "views"].map(|sub| dir.join(sub)) {
            if !sub.is_dir() {
                cache.change("create the cache folder", Change::CreateDirAll(&sub))?;
                is_new = true;
            }
        }
        if is_new {
            cache.change("sync", Change::SyncDir(dir))?;
        }
        Ok(cache)
    }

    /// Check that results can be written. Callers ask before an hour of training, not after it.
    pub fn writable(&self) -> Result<(), CacheError> {
        let probe = self.disk.change(Change::Touch(&self.dir.join("lock")));
        probe.map_err(|e| CacheError::io("write to the cache", &self.dir, e))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// `what` completes "cannot", as in "create".
    pub(crate) fn change(&self, what: &'static str, change: Change<'_>) -> Result<(), CacheError> {
        self.disk.change(change).map_err(|e| CacheError::io(what, change.path(), e))
    }

    pub fn object_path(&self, digest: &str) -> PathBuf {
        self.dir.join("objects").join(&digest[..2]).join(&digest[2..])
    }

    fn entry_path(&self, fingerprint: &str) -> PathBuf {
        self.dir.join("entries").join(format!("{fingerprint}.json"))
    }

    fn place_of(&self, digest: &str) -> Result<Place, CacheError> {
        let object = self.object_path(digest);
        for path in [object.parent().unwrap_or(&self.dir), &object] {
            match fs::symlink_metadata(path) {
                Ok(m) if m.is_file() && path == object => return Ok(Place::File(m)),
                Ok(m) if m.is_dir() && path != object => {}
                Ok(_) => return Ok(Place::Foreign(path.into())),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Place::Missing),
                Err(e) => return Err(CacheError::io("read the metadata of", path, e)),
            }
        }
        Ok(Place::Missing)
    }

    /// The entry of a fingerprint, if it and all its objects exist. This checks sizes; bytes are verified when they are
    /// read.
    pub fn entry(&self, fingerprint: &str) -> Result<Option<Entry>, CacheError> {
        let Some(entry) = self.read_entry(fingerprint)? else { return Ok(None) };
        for file in entry.outputs.values().flat_map(|a| &a.files) {
            match self.place_of(&file.digest)? {
                Place::File(m) if m.size() == file.size => {}
                Place::Missing => return Ok(None),
                Place::File(_) => return self.discard(fingerprint, &self.object_path(&file.digest)),
                Place::Foreign(path) => return self.discard(fingerprint, &path),
            }
        }
        Ok(Some(entry))
    }

    /// Whether an object exists in its size.
    pub(crate) fn holds(&self, blob: &Blob) -> Result<bool, CacheError> {
        Ok(matches!(self.place_of(&blob.digest)?, Place::File(m) if m.size() == blob.size))
    }

    /// The manifest of an entry, even if its objects are missing: explanations need nothing else.
    pub fn manifest(&self, fingerprint: &str) -> Option<Manifest> {
        self.read_entry(fingerprint).ok().flatten().map(|e| e.manifest)
    }

    pub(crate) fn read_entry(&self, fingerprint: &str) -> Result<Option<Entry>, CacheError> {
        let path = self.entry_path(fingerprint);
        match fs::symlink_metadata(&path) {
            Ok(m) if m.is_file() => {}
            Ok(_) => return self.discard(fingerprint, &path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(CacheError::io("read the metadata of", &path, e)),
        }
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(CacheError::io("read the entry", &path, e)),
        };
        match Entry::from_bytes(&bytes) {
            Some(entry) if entry.manifest.fingerprint() == fingerprint => Ok(Some(entry)),
            _ => self.discard(fingerprint, &path),
        }
    }

    /// Move a damaged file away so that the stage runs again. In a read-only cache the entry only counts as missing.
    fn discard(&self, fingerprint: &str, path: &Path) -> Result<Option<Entry>, CacheError> {
        match self.set_aside(path) {
            Ok(damaged) => {
                guard(&self.damaged).insert(fingerprint.into(), damaged);
                Ok(None)
            }
            Err(CacheError::Io { source, .. }) if is_read_only(&source) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The file that `entry` found damaged for a fingerprint; each is returned once.
    pub fn take_damaged(&self, fingerprint: &str) -> Option<Damaged> {
        guard(&self.damaged).remove(fingerprint)
    }

    /// Move a damaged file to `damaged/`, where users can examine it.
    fn set_aside(&self, path: &Path) -> Result<Damaged, CacheError> {
        let dir = self.dir.join("damaged");
        self.change("create", Change::CreateDirAll(&dir))?;
        let name: String = path.strip_prefix(&self.dir).unwrap_or(path).to_string_lossy().replace('/', "-");
        // Never overwrite a file that was moved here before.
        let names = std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}.{n}")));
        let aside = names.map(|n| dir.join(n)).find(|p| fs::symlink_metadata(p).is_err()).unwrap_or_default();
        match self.disk.change(Change::Rename { from: path, to: &aside }) {
            Ok(()) => Ok(Damaged { file: path.into(), aside: Some(aside) }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Damaged { file: path.into(), aside: None }),
            Err(e) => Err(CacheError::io("move", path, e)),
        }
    }

    /// Verify an object's bytes, once per process unless the file changes; a damaged object is moved away.
    pub fn verify(&self, digest: &str) -> Result<(), CacheError> {
        let object = self.object_path(digest);
        let seen = match self.place_of(digest)? {
            Place::File(m) => identity(&m),
            Place::Missing => return Err(Damaged { file: object, aside: None }.into()),
            Place::Foreign(path) => return Err(self.set_aside(&path)?.into()),
        };
        if guard(&self.verified).get(digest) == Some(&seen) {
            return Ok(());
        }
        match digest::file(&object) {
            Ok(found) if found == digest => {
                guard(&self.verified).insert(digest.to_string(), seen);
                Ok(())
            }
            // Another process replaced the damaged object while we read it.
            Ok(_) if matches!(self.place_of(digest)?, Place::File(m) if identity(&m) != seen) => self.verify(digest),
            Ok(_) => Err(self.set_aside(&object)?.into()),
            // The file disappeared meanwhile, or the disk cannot read its bytes.
            Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(EIO) => {
                Err(self.set_aside(&object)?.into())
            }
            // For example too many open files: this says nothing about the object.
            Err(e) => Err(CacheError::io("read", &object, e)),
        }
    }

    /// Compute the digests of what a stage wrote below `dir`, without moving anything yet.
    pub fn measure(&self, dir: &Path, ty: &str) -> Result<Artifact, CacheError> {
        let mut files = Vec::new();
        for path in walk(dir)? {
            let whole = dir.join(&path);
            let size = fs::metadata(&whole).map_err(|e| CacheError::io("read the metadata of", &whole, e))?.len();
            let digest = digest::file(&whole).map_err(|e| CacheError::io("read", &whole, e))?;
            let Some(path) = path.to_str() else { return Err(CacheError::NotUnicode { path: whole }) };
            files.push(ArtifactFile { path: path.into(), size, digest });
        }
        Ok(Artifact::new(ty, files))
    }

    /// Commit a result: first the objects, each synced and linked into place, then the entry. Readers never see half a
    /// result.
    pub fn commit(&self, fingerprint: &str, entry: &Entry) -> Result<(), CacheError> {
        self.commit_files(fingerprint, entry, |port, file| Some(Path::new(port).join(&file.path)))
    }

    /// Commit a result of an archive: the objects in `fetched` are in the partial folder by digest and were verified;
    /// the cache has all others.
    pub(crate) fn commit_fetched(
        &self,
        fingerprint: &str,
        entry: &Entry,
        fetched: &BTreeSet<String>,
    ) -> Result<(), CacheError> {
        let mut fetched = fetched.clone();
        self.commit_files(fingerprint, entry, |_, file| fetched.take(&file.digest).map(PathBuf::from))
    }

    /// `source`: where a file of a port is, below the folder of outputs; None if its object is in the cache, or was given before.
    fn commit_files(
        &self,
        fingerprint: &str,
        entry: &Entry,
        mut source: impl FnMut(&str, &ArtifactFile) -> Option<PathBuf>,
    ) -> Result<(), CacheError> {
        let partial = self.partial(fingerprint);
        let mut folders = BTreeSet::new();
        for (port, artifact) in &entry.outputs {
            for file in &artifact.files {
                let folder = self.object_folder(&file.digest)?;
                folders.insert(folder);
                let Some(from) = source(port, file).map(|below| partial.out().join(below)) else { continue };
                partial.own(&from).map_err(|e| CacheError::io("copy", &from, e))?;
                self.change("protect", Change::Mode { path: &from, mode: 0o444 })?;
                self.change("write", Change::SyncFile(&from))?;
                self.place(&from, &file.digest)?;
            }
        }
        for folder in &folders {
            self.change("sync", Change::SyncDir(folder))?;
        }
        if !folders.iter().all(|f| guard(&self.synced).contains(f)) {
            self.change("sync", Change::SyncDir(&self.dir.join("objects")))?;
            guard(&self.synced).extend(folders);
        }
        self.write_entry(fingerprint, entry)
    }

    /// The folder for an object: create it if it is missing, and move away anything that is not a folder.
    fn object_folder(&self, digest: &str) -> Result<PathBuf, CacheError> {
        if let Place::Foreign(path) = self.place_of(digest)? {
            self.set_aside(&path)?;
        }
        let folder = self.dir.join("objects").join(&digest[..2]);
        if !folder.is_dir() {
            self.change("create", Change::CreateDirAll(&folder))?;
        }
        Ok(folder)
    }

    /// Put an object in place. If it exists and is sound, it stays, because views in use link to it.
    fn place(&self, from: &Path, digest: &str) -> Result<(), CacheError> {
        let to = &self.object_path(digest);
        match self.disk.change(Change::Link { from, to }) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match self.verify(digest) {
                Err(CacheError::Damaged(_)) => self.change("commit", Change::Rename { from, to }),
                other => other,
            },
            // Some file systems do not support hard links.
            Err(_) => self.change("commit", Change::Rename { from, to }),
        }
    }

    /// Write the entry in the stage's partial folder first: no other process uses that name, and a crash leaves nothing
    /// elsewhere.
    fn write_entry(&self, fingerprint: &str, entry: &Entry) -> Result<(), CacheError> {
        let path = self.entry_path(fingerprint);
        let temp = self.partial(fingerprint).entry();
        let bytes = entry.to_bytes().map_err(|e| CacheError::io("serialize", &path, e.into()))?;
        let what = "commit the entry";
        self.change(what, Change::Write { path: &temp, bytes: &bytes })?;
        self.change(what, Change::SyncFile(&temp))?;
        self.change(what, Change::Rename { from: &temp, to: &path })?;
        self.change("sync", Change::SyncDir(&self.dir.join("entries")))
    }

    /// Forget a result that lacks an object. Otherwise the result would reappear when another stage writes the same
    /// object.
    pub fn forget_incomplete(&self, fingerprint: &str) -> Result<(), CacheError> {
        if self.manifest(fingerprint).is_none() {
            return Ok(());
        }
        // The process that has the lock is restoring the result.
        let Some(_lock) = self.try_lock(fingerprint)? else { return Ok(()) };
        match self.entry(fingerprint)? {
            Some(_) => Ok(()),
            None => self.forget(fingerprint),
        }
    }

    /// Remove the entry of a result: for `--force`, and for results with damaged objects.
    pub fn forget(&self, fingerprint: &str) -> Result<(), CacheError> {
        self.change("remove the entry", Change::Remove(&self.entry_path(fingerprint)))
    }

    /// Fingerprints of all entries.
    pub fn fingerprints(&self) -> Result<Vec<String>, CacheError> {
        let dir = self.dir.join("entries");
        let mut all = Vec::new();
        for entry in fs::read_dir(&dir).map_err(|e| CacheError::io("read the folder", &dir, e))? {
            let entry = entry.map_err(|e| CacheError::io("read the folder", &dir, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            all.extend(name.strip_suffix(".json").filter(|n| is_digest(n)).map(str::to_string));
        }
        all.sort();
        Ok(all)
    }
}

/// Ignore poisoning: each change of these maps is complete in itself.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
