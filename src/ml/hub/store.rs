//! A repository's folder in the Hugging Face cache, laid out as Python's huggingface_hub has it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::{At, Failure};
use super::reference::{Reference, is_commit, is_plain};
use crate::files::weights;
use crate::watch::{Interrupted, Watch};

/// How often a lock that another process holds is asked for.
const POLL: Duration = Duration::from_millis(200);

/// `blobs/ETAG` holds contents, `snapshots/COMMIT/NAME` links to them, `refs/BRANCH` says a commit.
pub struct Store {
    dir: PathBuf,
    locks: PathBuf,
}

impl Store {
    pub fn new(cache: &Path, reference: &Reference) -> Self {
        let name = reference.repo(&reference.revision).folder_name();
        Self { dir: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    /// The folder of a commit, or of a revision whose files were put there by hand.
    pub fn snapshot(&self, revision: &str) -> PathBuf {
        self.dir.join("snapshots").join(revision)
    }

    /// Where the content of an etag is, or will be.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.dir.join("blobs").join(etag)
    }

    /// The file that says which commit a branch is held at.
    pub fn pin_file(&self, revision: &str) -> PathBuf {
        self.dir.join("refs").join(revision)
    }

    /// The commit that a branch is held at.
    pub fn pinned(&self, revision: &str) -> Option<String> {
        let commit = fs::read_to_string(self.pin_file(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_plain(commit))
    }

    /// Hold a branch at a commit.
    pub fn pin(&self, revision: &str, commit: &str) -> Result<(), Failure> {
        if is_commit(revision) || self.pinned(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.pin_file(revision);
        weights::write_whole(&path, commit.as_bytes()).map_err(|error| {
            let source = error.downcast::<io::Error>().unwrap_or_else(io::Error::other);
            Failure::Disk { verb: "write", path, source }
        })
    }

    /// Makes a content a file of a snapshot.
    pub fn link(&self, blob: &Path, commit: &str, name: &str) -> Result<(), Failure> {
        let path = self.snapshot(commit).join(name);
        if path.is_file() {
            return Ok(());
        }
        make_dir(&self.snapshot(commit))?;
        if path.is_symlink() {
            // Its content was deleted.
            fs::remove_file(&path).at("remove", &path)?;
        }
        let etag = blob.file_name().unwrap_or_default();
        let linked = std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), &path);
        if linked.is_ok() || path.is_file() {
            return Ok(());
        }
        // Some file systems have no links; then the content itself goes there.
        fs::rename(blob, &path).at("write", &path)
    }

    /// Waits until no other process fetches this content; the lock ends with the file that is returned, or the process.
    pub fn lock(&self, etag: &str, watch: &dyn Watch) -> Result<File, Failure> {
        make_dir(&self.locks)?;
        let path = self.locks.join(format!("{etag}.lock"));
        let file = File::options().create(true).truncate(false).write(true).open(&path).at("open", &path)?;
        let mut is_told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                // Not every network file system can lock; what was fetched twice at once is still checked.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
                Err(TryLockError::Error(source)) => return Err(Failure::Disk { verb: "lock", path, source }),
                Err(TryLockError::WouldBlock) if watch.stopped() => return Err(Interrupted.into()),
                Err(TryLockError::WouldBlock) => {
                    if !is_told {
                        watch.note("another process is fetching the same file".into());
                        is_told = true;
                    }
                    std::thread::sleep(POLL);
                }
            }
        }
    }
}

pub fn make_dir(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).at("create", dir)
}
