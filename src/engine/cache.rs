//! Objects and entries on disk: committed whole, verified when read, locked against other processes.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::artifact::{Artifact, ArtifactFile, is_digest, walk};
use super::digest;
use super::manifest::Manifest;

/// A committed result: what it depended on, what came out, how it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub kind: String,
    pub manifest: Manifest,
    pub outputs: BTreeMap<String, Artifact>,
    pub made: Made,
}

/// How a result was made; none of it is part of what it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// Seconds since 1970.
    pub at: u64,
    pub seconds: f64,
    pub device: String,
    pub version: String,
    pub facts: BTreeMap<String, f64>,
}

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("cannot {what} {}: {source}{}", path.display(), advice(source))]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is neither a file nor a folder: a stage may write only those", path.display())]
    NotAFile { path: PathBuf },
    #[error("the stage wrote nothing to its output `{port}`")]
    NoOutput { port: String },
    #[error("interrupted while waiting for another process")]
    Interrupted,
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// A file of the cache is not what it was when it was committed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} is damaged; it was set aside as {}", file.display(), aside.display())]
pub struct Damaged {
    pub file: PathBuf,
    pub aside: PathBuf,
}

impl CacheError {
    pub(super) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.into(), source }
    }
}

/// What to do about the errors that users can mend.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space and run again: what was committed before is kept"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; make it writable, or choose another place with --cache-dir or $PIPE_CACHE"
        }
        _ => "",
    }
}

pub struct Cache {
    dir: PathBuf,
    /// Objects whose bytes this process has checked.
    verified: Mutex<HashSet<String>>,
}

impl Cache {
    /// Open a cache folder, making it where it is missing.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        for sub in ["objects", "entries", "partial", "views"] {
            let path = dir.join(sub);
            fs::create_dir_all(&path).map_err(|e| CacheError::io("create the cache folder", &path, e))?;
        }
        // Found out now rather than after an hour of training.
        let lock = dir.join("lock");
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&lock)
            .map_err(|e| CacheError::io("write to the cache: open", &lock, e))?;
        Ok(Self { dir: dir.to_path_buf(), verified: Mutex::default() })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn object_path(&self, digest: &str) -> PathBuf {
        self.dir.join("objects").join(&digest[..2]).join(&digest[2..])
    }

    fn entry_path(&self, fingerprint: &str) -> PathBuf {
        self.dir.join("entries").join(format!("{fingerprint}.json"))
    }

    pub fn partial_path(&self, fingerprint: &str) -> PathBuf {
        self.dir.join("partial").join(fingerprint)
    }

    /// The entry of a fingerprint if it and all its objects are there. Sizes are checked, bytes only when read.
    pub fn entry(&self, fingerprint: &str) -> Result<Option<Entry>, CacheError> {
        let path = self.entry_path(fingerprint);
        let Some(entry) = self.read_entry(&path, fingerprint)? else { return Ok(None) };
        for file in entry.outputs.values().flat_map(|a| &a.files) {
            let object = self.object_path(&file.digest);
            match fs::symlink_metadata(&object) {
                Ok(m) if m.is_file() && m.size() == file.size => {}
                Ok(_) => {
                    self.set_aside(&object)?;
                    return Ok(None);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(CacheError::io("look at", &object, e)),
            }
        }
        Ok(Some(entry))
    }

    /// The entry whatever became of its objects: explanations need only its manifest.
    pub fn manifest(&self, fingerprint: &str) -> Option<Manifest> {
        self.read_entry(&self.entry_path(fingerprint), fingerprint).ok().flatten().map(|e| e.manifest)
    }

    fn read_entry(&self, path: &Path, fingerprint: &str) -> Result<Option<Entry>, CacheError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(CacheError::io("read the entry", path, e)),
        };
        let sound = |e: &Entry| e.manifest.fingerprint() == fingerprint && e.outputs.values().all(Artifact::is_sound);
        match serde_json::from_slice::<Entry>(&bytes).ok().filter(sound) {
            Some(entry) => Ok(Some(entry)),
            None => {
                self.set_aside(path)?;
                Ok(None)
            }
        }
    }

    /// Move a damaged file out of the way, keeping it for whoever wants to look.
    fn set_aside(&self, path: &Path) -> Result<Damaged, CacheError> {
        let dir = self.dir.join("damaged");
        fs::create_dir_all(&dir).map_err(|e| CacheError::io("create", &dir, e))?;
        let name: String = path.strip_prefix(&self.dir).unwrap_or(path).to_string_lossy().replace('/', "-");
        let aside = dir.join(name);
        match fs::rename(path, &aside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(CacheError::io("set aside", path, e)),
            _ => Ok(Damaged { file: path.into(), aside }),
        }
    }

    /// A folder with the artifact's files, every byte of which has been checked by this process.
    pub fn view(&self, artifact: &Artifact) -> Result<PathBuf, CacheError> {
        for file in &artifact.files {
            self.verify(&file.digest)?;
        }
        let dir = self.dir.join("views").join(&artifact.digest);
        if self.is_view_of(&dir, artifact) {
            return Ok(dir);
        }
        let temp = tempfile::tempdir_in(self.dir.join("views"))
            .map_err(|e| CacheError::io("create a folder in", &self.dir.join("views"), e))?;
        for file in &artifact.files {
            let to = temp.path().join(&file.path);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(|e| CacheError::io("create", parent, e))?;
            }
            let from = self.object_path(&file.digest);
            fs::hard_link(&from, &to)
                .or_else(|_| fs::copy(&from, &to).map(drop))
                .map_err(|e| CacheError::io("link", &to, e))?;
        }
        let _ = fs::remove_dir_all(&dir);
        let temp = temp.keep();
        match fs::rename(&temp, &dir) {
            Ok(()) => Ok(dir),
            // Another thread or process was faster; its view is as good.
            Err(_) if self.is_view_of(&dir, artifact) => {
                let _ = fs::remove_dir_all(&temp);
                Ok(dir)
            }
            Err(e) => Err(CacheError::io("make the view", &dir, e)),
        }
    }

    /// A view is right when each of its files is the very object (same inode): what was verified is what is read.
    fn is_view_of(&self, dir: &Path, artifact: &Artifact) -> bool {
        artifact.files.iter().all(|file| {
            let same = |a: fs::Metadata, b: fs::Metadata| a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino());
            match (fs::symlink_metadata(dir.join(&file.path)), fs::symlink_metadata(self.object_path(&file.digest))) {
                (Ok(a), Ok(b)) => same(a, b),
                _ => false,
            }
        })
    }

    /// Check an object's bytes, once per process; a damaged one is set aside.
    pub fn verify(&self, digest: &str) -> Result<(), CacheError> {
        if self.verified().contains(digest) {
            return Ok(());
        }
        let object = self.object_path(digest);
        let is_file = fs::symlink_metadata(&object).is_ok_and(|m| m.is_file());
        match digest::file(&object) {
            Ok(found) if is_file && found == digest => {
                self.verified().insert(digest.to_string());
                Ok(())
            }
            _ => Err(self.set_aside(&object)?.into()),
        }
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.verified.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Digest what a stage wrote below `dir`, without moving anything yet.
    pub fn measure(&self, dir: &Path, ty: &str) -> Result<Artifact, CacheError> {
        let mut files = Vec::new();
        for path in walk(dir)? {
            let whole = dir.join(&path);
            let size = fs::metadata(&whole).map_err(|e| CacheError::io("look at", &whole, e))?.len();
            let digest = digest::file(&whole).map_err(|e| CacheError::io("read", &whole, e))?;
            files.push(ArtifactFile { path: path.to_string_lossy().into_owned(), size, digest });
        }
        Ok(Artifact::new(ty, files))
    }

    /// Commit a result: objects first, each synced and renamed into place, the entry last. Nothing half done is ever seen.
    pub fn commit(&self, fingerprint: &str, out: &Path, entry: &Entry) -> Result<(), CacheError> {
        let mut folders = HashSet::new();
        for (port, artifact) in &entry.outputs {
            for file in &artifact.files {
                let from = out.join(port).join(&file.path);
                let to = self.object_path(&file.digest);
                let folder = to.parent().unwrap_or(&self.dir).to_path_buf();
                fs::create_dir_all(&folder).map_err(|e| CacheError::io("create", &folder, e))?;
                File::open(&from).and_then(|f| f.sync_all()).map_err(|e| CacheError::io("write", &from, e))?;
                fs::set_permissions(&from, Permissions::from_mode(0o444))
                    .map_err(|e| CacheError::io("protect", &from, e))?;
                self.place(&from, &to, &file.digest)?;
                folders.insert(folder);
            }
        }
        for folder in folders {
            sync_dir(&folder)?;
        }
        let bytes = serde_json::to_vec_pretty(entry)
            .map_err(|e| CacheError::io("write down", &self.entry_path(fingerprint), e.into()))?;
        self.write_entry(fingerprint, &bytes)
    }

    /// Put an object in place. One that is there already stays if it is sound: views in use are links to it.
    fn place(&self, from: &Path, to: &Path, digest: &str) -> Result<(), CacheError> {
        match fs::hard_link(from, to) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match self.verify(digest) {
                Ok(()) => Ok(()),
                Err(CacheError::Damaged(_)) => fs::rename(from, to).map_err(|e| CacheError::io("commit", to, e)),
                Err(other) => Err(other),
            },
            // Some file systems know no hard links.
            Err(_) => fs::rename(from, to).map_err(|e| CacheError::io("commit", to, e)),
        }
    }

    fn write_entry(&self, fingerprint: &str, bytes: &[u8]) -> Result<(), CacheError> {
        let path = self.entry_path(fingerprint);
        let dir = self.dir.join("entries");
        let write = || -> io::Result<()> {
            let mut temp = tempfile::NamedTempFile::new_in(&dir)?;
            io::Write::write_all(&mut temp, bytes)?;
            temp.as_file().sync_all()?;
            temp.persist(&path).map_err(|e| e.error)?;
            Ok(())
        };
        write().map_err(|e| CacheError::io("commit the entry", &path, e))?;
        sync_dir(&dir)
    }

    /// Forget a result, for `--force` and for one whose objects are damaged.
    pub fn forget(&self, fingerprint: &str) -> Result<(), CacheError> {
        let path = self.entry_path(fingerprint);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(CacheError::io("remove the entry", &path, e)),
            _ => Ok(()),
        }
    }

    /// Take the lock of a fingerprint, waiting for whoever has it. The system drops it when the process dies.
    pub fn lock(
        &self,
        fingerprint: &str,
        stopped: &dyn Fn() -> bool,
        on_wait: &dyn Fn(),
    ) -> Result<StageLock, CacheError> {
        let path = self.dir.join("partial").join(format!("{fingerprint}.lock"));
        let mut waited = false;
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(|e| CacheError::io("open the lock", &path, e))?;
            match file.try_lock() {
                // The holder before us removes the file: a lock on what is no longer there locks nothing.
                Ok(()) if same_file(&file, &path) => return Ok(StageLock { _file: file, path }),
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut waited, true) {
                        on_wait();
                    }
                    if stopped() {
                        return Err(CacheError::Interrupted);
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::Error(e)) => return Err(CacheError::io("lock", &path, e)),
            }
        }
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

/// Held while a stage is computed.
pub struct StageLock {
    _file: File,
    path: PathBuf,
}

impl Drop for StageLock {
    fn drop(&mut self) {
        // While the lock is still held, so that nobody can be holding a newer file of this name.
        let _ = fs::remove_file(&self.path);
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn sync_dir(dir: &Path) -> Result<(), CacheError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| CacheError::io("sync", dir, e))
}
