//! Disks that fail on purpose: full, broken, read-only, without power.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pipe_engine::store::disk::{Change, Disk, Os};

pub const ENOSPC: i32 = 28;
pub const EIO: i32 = 5;
pub const EROFS: i32 = 30;

/// Carries out all changes without syncing, and records them.
#[derive(Default)]
pub struct Recording(pub Mutex<Vec<String>>);

impl Disk for Recording {
    fn change(&self, change: Change<'_>) -> io::Result<()> {
        self.0.lock().unwrap().push(format!("{change:?}"));
        quick(change)
    }
}

/// The real file system without syncs, which no test needs.
fn quick(change: Change<'_>) -> io::Result<()> {
    match change {
        Change::SyncFile(path) | Change::SyncDir(path) => File::open(path).map(drop),
        other => Os.change(other),
    }
}

/// What happens at the n-th change.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// Only this change fails, with this errno.
    Once(i32),
    /// This and all later changes fail, except removals.
    On(i32),
    /// The process dies: a write is left half done, and no later change is carried out.
    Crash,
}

pub struct Faulty {
    pub from: usize,
    pub trouble: Trouble,
    pub seen: AtomicUsize,
}

impl Faulty {
    pub fn new(from: usize, trouble: Trouble) -> Self {
        Self { from, trouble, seen: AtomicUsize::new(0) }
    }
}

impl Disk for Faulty {
    fn change(&self, change: Change<'_>) -> io::Result<()> {
        let n = self.seen.fetch_add(1, Ordering::SeqCst);
        match self.trouble {
            Trouble::Once(errno) if n == self.from => Err(io::Error::from_raw_os_error(errno)),
            Trouble::On(_) if matches!(change, Change::Remove(_)) => quick(change),
            Trouble::On(errno) if n >= self.from => Err(io::Error::from_raw_os_error(errno)),
            Trouble::Crash if n == self.from => Err(tear(change)),
            Trouble::Crash if n > self.from => Err(io::Error::other("the process is dead")),
            _ => quick(change),
        }
    }
}

fn tear(change: Change<'_>) -> io::Error {
    let half = |path: &Path, bytes: &[u8]| File::create_new(path)?.write_all(&bytes[..bytes.len() / 2]);
    let _ = match change {
        Change::Write { path, bytes } => half(path, bytes),
        Change::Copy { from, to } => fs::read(from).and_then(|bytes| half(to, &bytes)),
        _ => Ok(()),
    };
    io::Error::other("the process died")
}

/// What a power cut loses of the unsynced changes. Real disks may keep any part of them.
#[derive(Debug, Clone, Copy)]
pub enum Loss {
    /// All names and all bytes.
    All,
    /// The bytes, but not the names of their files.
    Bytes,
    /// All bytes, and the names that this seed selects.
    Some(u64),
}

/// Loses its power at the n-th change.
pub struct PowerCut {
    disk: Faulty,
    /// Files, by device and inode, whose bytes are on the platter.
    synced: Mutex<HashSet<(u64, u64)>>,
    /// Unsynced names: the new path, and the old one of a rename.
    names: Mutex<Vec<(PathBuf, Option<PathBuf>)>>,
}

impl PowerCut {
    pub fn new(at: usize) -> Self {
        Self { disk: Faulty::new(at, Trouble::Crash), synced: Mutex::default(), names: Mutex::default() }
    }

    /// Undo the unsynced changes in the folder.
    pub fn cut(&self, dir: &Path, loss: Loss) {
        let names = std::mem::take(&mut *self.names.lock().unwrap());
        for (i, (path, before)) in names.into_iter().enumerate().rev() {
            let is_lost = match loss {
                Loss::All => true,
                Loss::Bytes => false,
                Loss::Some(seed) => blake3::hash(format!("{seed} {i}").as_bytes()).as_bytes()[0] < 128,
            };
            match before {
                _ if !is_lost => {}
                Some(before) if fs::rename(&path, &before).is_ok() => {}
                _ => Os.change(Change::Remove(&path)).unwrap(),
            }
        }
        let synced = self.synced.lock().unwrap();
        for path in files(dir) {
            let m = fs::metadata(&path).unwrap();
            if !synced.contains(&(m.dev(), m.ino())) {
                fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
                File::options().write(true).open(&path).unwrap().set_len(m.len() / 2).unwrap();
            }
        }
    }
}

impl Disk for PowerCut {
    fn change(&self, change: Change<'_>) -> io::Result<()> {
        self.disk.change(change)?;
        let mut names = self.names.lock().unwrap();
        match change {
            Change::SyncFile(path) => {
                let m = fs::metadata(path)?;
                self.synced.lock().unwrap().insert((m.dev(), m.ino()));
            }
            Change::SyncDir(dir) => names.retain(|(path, _)| path.parent() != Some(dir)),
            Change::Rename { from, to } => names.push((to.into(), Some(from.into()))),
            Change::Link { to, .. } | Change::Copy { to, .. } => names.push((to.into(), None)),
            Change::Touch(path) | Change::CreateDir(path) | Change::CreateDirAll(path) => {
                names.push((path.into(), None))
            }
            Change::Write { path, .. } => names.push((path.into(), None)),
            Change::Remove(gone) => names.retain(|(path, _)| !path.starts_with(gone)),
            Change::Mode { .. } => {}
        }
        Ok(())
    }
}

/// All regular files below a folder.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            match entry.file_type().unwrap() {
                t if t.is_dir() => open.push(entry.path()),
                t if t.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}
