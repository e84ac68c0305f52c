//! Every change that the engine makes to files, as a value: the system carries it out, or a test makes it fail.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// One step on disk. The guarantees about crashes hold for a crash between any two steps.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Create a folder; an error if the path exists.
    CreateDir(&'a Path),
    CreateDirAll(&'a Path),
    /// Create the file if it is missing and leave its content unchanged.
    Touch(&'a Path),
    /// Create a file with these bytes; an error if the path exists.
    Write {
        path: &'a Path,
        bytes: &'a [u8],
    },
    /// Create a file with the bytes of another; an error if the path exists.
    Copy {
        from: &'a Path,
        to: &'a Path,
    },
    Mode {
        path: &'a Path,
        mode: u32,
    },
    SyncFile(&'a Path),
    SyncDir(&'a Path),
    Link {
        from: &'a Path,
        to: &'a Path,
    },
    Rename {
        from: &'a Path,
        to: &'a Path,
    },
    /// Remove a file, a folder with its content, or a link (but not its target). A missing path is no error.
    Remove(&'a Path),
}

impl<'a> Change<'a> {
    /// The path that changes, for messages.
    pub fn path(self) -> &'a Path {
        match self {
            Self::CreateDir(path) | Self::CreateDirAll(path) | Self::Touch(path) | Self::Remove(path) => path,
            Self::SyncFile(path) | Self::SyncDir(path) => path,
            Self::Write { path, .. } | Self::Mode { path, .. } => path,
            Self::Copy { to, .. } | Self::Link { to, .. } | Self::Rename { to, .. } => to,
        }
    }
}

/// Carries out changes.
pub trait Disk: Send + Sync {
    fn change(&self, change: Change<'_>) -> io::Result<()>;
}

/// The real file system.
pub struct Os;

impl Disk for Os {
    fn change(&self, change: Change<'_>) -> io::Result<()> {
        match change {
            Change::CreateDir(path) => fs::create_dir(path),
            Change::CreateDirAll(path) => fs::create_dir_all(path),
            Change::Touch(path) => OpenOptions::new().create(true).append(true).open(path).map(drop),
            Change::Write { path, bytes } => File::create_new(path)?.write_all(bytes),
            Change::Copy { from, to } => io::copy(&mut File::open(from)?, &mut File::create_new(to)?).map(drop),
            Change::Mode { path, mode } => fs::set_permissions(path, Permissions::from_mode(mode)),
            Change::SyncFile(path) | Change::SyncDir(path) => File::open(path)?.sync_all(),
            Change::Link { from, to } => fs::hard_link(from, to),
            Change::Rename { from, to } => fs::rename(from, to),
            Change::Remove(path) => remove(path),
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(m) if m.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    removed.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}
