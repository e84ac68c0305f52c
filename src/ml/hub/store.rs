//! A repository's folder in the Hugging Face cache, in the layout of Python's huggingface_hub.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::{At, Failure};
use super::reference::{Reference, is_commit, is_plain};
use crate::files::weights;
use crate::watch::{Interrupted, Watch};

/// How often the process retries a lock that another one holds.
const POLL: Duration = Duration::from_millis(200);

/// `blobs/ETAG` are the contents, `snapshots/COMMIT/NAME` link to them, `refs/BRANCH` names a commit.
pub(super) struct Store {
    dir: PathBuf,
    locks: PathBuf,
}

impl Store {
    pub(super) fn new(cache: &Path, reference: &Reference) -> Self {
        let name = reference.folder();
        Self { dir: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    /// The folder of a commit, or of a revision whose files a user placed by hand.
    pub(super) fn snapshot(&self, revision: &str) -> PathBuf {
        self.dir.join("snapshots").join(revision)
    }

    /// The path of the content with this etag.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.dir.join("blobs").join(etag)
    }

    /// The file that records the commit of a branch.
    pub(super) fn pin_file(&self, revision: &str) -> PathBuf {
        self.dir.join("refs").join(revision)
    }

    /// The recorded commit of a branch.
    pub(super) fn pinned(&self, revision: &str) -> Option<String> {
        let commit = fs::read_to_string(self.pin_file(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_plain(commit))
    }

    /// Records the commit of a branch.
    pub(super) fn pin(&self, revision: &str, commit: &str) -> Result<(), Failure> {
        if is_commit(revision) || self.pinned(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.pin_file(revision);
        weights::write_whole(&path, commit.as_bytes()).map_err(|error| {
            let source = error.downcast::<io::Error>().unwrap_or_else(io::Error::other);
            Failure::Disk { verb: "write", path, source }
        })
    }

    /// Adds a blob to a snapshot under a file name.
    pub(super) fn link(&self, blob: &Path, commit: &str, name: &str) -> Result<(), Failure> {
        let path = self.snapshot(commit).join(name);
        if path.is_file() {
            return Ok(());
        }
        make_dir(path.parent().unwrap_or(&path))?;
        if path.is_symlink() {
            // The link dangles: its blob was deleted.
            fs::remove_file(&path).at("remove", &path)?;
        }
        let etag = blob.file_name().unwrap_or_default();
        let up = "../".repeat(name.matches('/').count());
        let linked = std::os::unix::fs::symlink(Path::new(&format!("{up}../../blobs")).join(etag), &path);
        if linked.is_ok() || path.is_file() {
            return Ok(());
        }
        // Some file systems have no symbolic links; move the blob itself there.
        fs::rename(blob, &path).at("write", &path)
    }

    /// The file that records which files of a data set's snapshot were downloaded, so that what is missing is seen.
    fn list_file(&self, commit: &str, config: Option<&str>) -> PathBuf {
        let name = config.map_or_else(String::new, |config| format!("-{}", config.replace('/', "-")));
        self.dir.join("pipe").join(format!("{commit}{name}.json"))
    }

    /// The files of a data set that were downloaded together.
    pub(super) fn listed(&self, commit: &str, config: Option<&str>) -> Option<Vec<String>> {
        serde_json::from_slice(&fs::read(self.list_file(commit, config)).ok()?).ok()
    }

    /// Records the files of a data set.
    pub(super) fn list(&self, commit: &str, config: Option<&str>, names: &[String]) -> Result<(), Failure> {
        let path = self.list_file(commit, config);
        let text = serde_json::to_vec(names).unwrap_or_default();
        weights::write_whole(&path, &text).map_err(|error| {
            let source = error.downcast::<io::Error>().unwrap_or_else(io::Error::other);
            Failure::Disk { verb: "write", path, source }
        })
    }

    /// Waits until no other process downloads this blob. Dropping the returned file, or exiting, releases the lock.
    pub(super) fn lock(&self, etag: &str, watch: &dyn Watch) -> Result<File, Failure> {
        make_dir(&self.locks)?;
        let path = self.locks.join(format!("{etag}.lock"));
        let file = File::options().create(true).truncate(false).write(true).open(&path).at("open", &path)?;
        let mut is_noted = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                // Some network file systems cannot lock. Two simultaneous downloads are still verified by checksum.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
                Err(TryLockError::Error(source)) => return Err(Failure::Disk { verb: "lock", path, source }),
                Err(TryLockError::WouldBlock) if watch.stopped() => return Err(Interrupted.into()),
                Err(TryLockError::WouldBlock) => {
                    if !is_noted {
                        watch.note("waiting for another process that is downloading the same file".into());
                        is_noted = true;
                    }
                    std::thread::sleep(POLL);
                }
            }
        }
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).at("create", dir)
}
