//! Content digests of files, with a cache keyed by stat that avoids reading unchanged files again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use blake3::hazmat::{self, ChainingValue, HasherExt, Mode};
use serde::{Deserialize, Serialize};

use super::disk::{Change, Disk};

/// Bytes that a thread reads and hashes at a time: half of a core's second-level cache, so that the hash reads them from
/// there. Files of more than this are hashed on all cores.
const PIECE: u64 = 512 << 10;

/// A file that changed less than this before it was read may change again without a visible change of its stat.
const RACY: Duration = Duration::from_secs(2);

/// The blake3 digest of a file, in hexadecimal.
pub fn file(path: &Path) -> io::Result<String> {
    // Opening a named pipe would block until a writer comes.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    if size <= PIECE {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&file)?;
        return Ok(hasher.finalize().to_hex().to_string());
    }
    let (left, right) = halves(&file, 0, size)?;
    Ok(hazmat::merge_subtrees_root(&left, &right, Mode::Hash).to_hex().to_string())
}

/// The chaining values of the two subtrees of BLAKE3's hash tree over `length` bytes from `offset`, on all cores.
///
/// Positioned reads, and not a memory map: they are as fast (`benches/RESULTS.md`), and a file that another process
/// truncates meanwhile is an error, where a map raises SIGBUS.
fn halves(file: &File, offset: u64, length: u64) -> io::Result<(ChainingValue, ChainingValue)> {
    let left = hazmat::left_subtree_len(length);
    let (left, right) = rayon::join(|| subtree(file, offset, left), || subtree(file, offset + left, length - left));
    Ok((left?, right?))
}

fn subtree(file: &File, offset: u64, length: u64) -> io::Result<ChainingValue> {
    if length > PIECE {
        let (left, right) = halves(file, offset, length)?;
        return Ok(hazmat::merge_subtrees_non_root(&left, &right, Mode::Hash));
    }
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(PIECE as usize, 0);
        let piece = &mut buffer[..length as usize];
        file.read_exact_at(piece, offset).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(e.kind(), "it became shorter while it was read"),
            _ => e,
        })?;
        Ok(blake3::Hasher::new().set_input_offset(offset).update(piece).finalize_non_root())
    })
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stat {
    size: u64,
    mtime: i64,
    mtime_nsec: i64,
    ctime: i64,
    ctime_nsec: i64,
    inode: u64,
    device: u64,
}

impl Stat {
    fn of(m: &Metadata) -> Self {
        Self {
            size: m.size(),
            mtime: m.mtime(),
            mtime_nsec: m.mtime_nsec(),
            ctime: m.ctime(),
            ctime_nsec: m.ctime_nsec(),
            inode: m.ino(),
            device: m.dev(),
        }
    }

    /// Whether the file is old enough at `now` that any change would show in its stat.
    fn settled(&self, now: SystemTime) -> bool {
        let last = self.mtime.max(self.ctime);
        match now.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => since.as_secs() as i64 > last.saturating_add(RACY.as_secs() as i64),
            Err(_) => false,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    stat: Stat,
    digest: String,
}

/// Digests by path, kept in one JSON file. If the file is lost, the digests are computed again.
pub struct StatCache {
    file: PathBuf,
    disk: Arc<dyn Disk>,
    known: Mutex<(HashMap<PathBuf, Known>, bool)>,
}

impl StatCache {
    pub fn open(file: PathBuf, disk: Arc<dyn Disk>) -> Self {
        let known = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { file, disk, known: Mutex::new((known, false)) }
    }

    /// The digest of a file; it is read only if the stat cache does not know it.
    pub fn digest(&self, path: &Path) -> io::Result<String> {
        let stat = Stat::of(&std::fs::metadata(path)?);
        if let Some(known) = self.lock().0.get(path).filter(|k| k.stat == stat) {
            return Ok(known.digest.clone());
        }
        let now = SystemTime::now();
        let digest = file(path)?;
        let after = Stat::of(&std::fs::metadata(path)?);
        // The cache is a JSON file, so paths have to be Unicode.
        if after == stat && stat.settled(now) && path.to_str().is_some() {
            let mut guard = self.lock();
            guard.0.insert(path.to_path_buf(), Known { stat, digest: digest.clone() });
            guard.1 = true;
        }
        Ok(digest)
    }

    /// Write new digests to disk. If another process writes at the same time, one set of digests is lost and computed
    /// again.
    pub fn save(&self) -> io::Result<()> {
        let mut guard = self.lock();
        if !guard.1 {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&guard.0)?;
        let dir = self.file.parent().unwrap_or(Path::new("."));
        let write = |path: &Path| self.disk.change(Change::Write { path, bytes: &bytes });
        let temp = tempfile::Builder::new().disable_cleanup(true).make_in(dir, write)?;
        let renamed = self.disk.change(Change::Rename { from: temp.path(), to: &self.file });
        match renamed {
            Ok(()) => guard.1 = false,
            Err(_) => self.disk.change(Change::Remove(temp.path()))?,
        }
        renamed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (HashMap<PathBuf, Known>, bool)> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_gives_the_digest_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for size in [0, 1, 1023, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1024, 3_333_333] {
            let bytes: Vec<u8> = (0..size).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(file(&path).unwrap(), blake3::hash(&bytes).to_hex().to_string(), "{size}");
        }
    }

    #[test]
    fn a_file_that_shrinks_again_and_again_while_it_is_read_is_an_error_or_a_digest() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 8 << 20]).unwrap();
        let done = AtomicBool::new(false);
        let errors = std::thread::scope(|scope| {
            scope.spawn(|| {
                let open = File::options().write(true).open(&path).unwrap();
                while !done.load(Ordering::Relaxed) {
                    open.set_len(3 << 20).unwrap();
                    open.set_len(8 << 20).unwrap();
                }
            });
            let errors = (0..200).filter_map(|_| file(&path).err()).map(|e| e.kind()).collect::<Vec<_>>();
            done.store(true, Ordering::Relaxed);
            errors
        });
        assert!(errors.iter().all(|e| *e == io::ErrorKind::UnexpectedEof), "{errors:?}");
    }
}
