//! What can go wrong with the cache, and what users can do about it.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("cannot {what} {}: {source}{}", path.display(), advice(source))]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot {what} {}: {source}{}", path.display(), make_room(source))]
    Export { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is neither a regular file nor a folder; a stage may write only files and folders", path.display())]
    NotAFile { path: PathBuf },
    #[error("the file name of {} is not valid Unicode; a stage may write only files with Unicode names", path.display())]
    NotUnicode { path: PathBuf },
    #[error(
        "the cache folder {} is a link to {}, which does not exist; mount that disk or create that folder, or remove the link",
        path.display(),
        to.display()
    )]
    DanglingLink { path: PathBuf, to: PathBuf },
    #[error("the stage wrote nothing to its output `{port}`")]
    NoOutput { port: String },
    #[error("interrupted while waiting for another process")]
    Interrupted,
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// A file of the cache that changed after it was committed, or is missing.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} {}", file.display(), match aside {
    Some(aside) => format!("is damaged; pipe moved it to {}", aside.display()),
    None => "is missing".into(),
})]
pub struct Damaged {
    pub file: PathBuf,
    /// Where the damaged file was moved; None if the file is missing.
    pub aside: Option<PathBuf>,
}

impl CacheError {
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.into(), source }
    }
}

/// What to do about errors that users can fix.
fn advice(error: &io::Error) -> &'static str {
    if is_read_only(error) {
        return "; make it writable, or choose another folder with --cache-dir or $PIPE_CACHE";
    }
    make_room(error)
}

pub(crate) fn make_room(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some disk space and run again: committed results are kept"
        }
        _ => "",
    }
}

pub(crate) fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// `EIO`: the disk cannot read or write a block. std has no `ErrorKind` for it.
pub(crate) const EIO: i32 = 5;
