//! Copies the objects of one result out of an archive, verified while they arrive, on a thread of its own.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::seam::{Archive, Blob};

/// How often a request to stop is noticed.
const TICK: Duration = Duration::from_millis(50);

/// How often the progress is reported.
const REPORT: Duration = Duration::from_millis(500);

/// Why the objects of a result did not arrive.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The archive does not have it.
    Missing(Blob),
    /// The archive has other bytes under its name.
    Wrong(Blob),
    Unreachable(io::Error),
    /// The cache cannot be written.
    Local(PathBuf, io::Error),
    Stopped,
}

/// What the thread that waits and the thread that copies both know.
#[derive(Default)]
struct Shared {
    bytes: AtomicU64,
    is_stopped: AtomicBool,
}

/// Who waits for a download.
pub(crate) struct Waiting<'a> {
    pub stopped: &'a dyn Fn() -> bool,
    /// Called with the number of bytes that have arrived.
    pub progress: &'a dyn Fn(u64),
    /// The longest time without a byte.
    pub patience: Duration,
}

/// Copy objects to `dir`, each to a file named by its digest.
pub(crate) fn download(
    archive: &Arc<dyn Archive>,
    blobs: &[Blob],
    dir: &Path,
    waiting: &Waiting<'_>,
) -> Result<(), Failure> {
    let shared = Arc::new(Shared::default());
    let (send, receive) = mpsc::channel();
    let thread = {
        let (archive, shared, blobs, dir) = (archive.clone(), shared.clone(), blobs.to_vec(), dir.to_path_buf());
        move || {
            let copied = blobs.iter().try_for_each(|blob| copy(archive.as_ref(), blob, &dir, &shared));
            let _ = send.send(copied);
        }
    };
    // A thread that hangs in a dead file system is left behind; it can only write to files that nobody will read.
    thread::Builder::new().name("archive".into()).spawn(thread).map_err(Failure::Unreachable)?;
    let (mut last, mut since, mut reported) = (0, Instant::now(), Instant::now());
    loop {
        match receive.recv_timeout(TICK) {
            Ok(copied) => return copied,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Unreachable(io::Error::other("the archive ended a request without an answer")));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let bytes = shared.bytes.load(Ordering::Relaxed);
        if bytes > last {
            (last, since) = (bytes, Instant::now());
        }
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            (waiting.progress)(bytes);
        }
        let failure = if (waiting.stopped)() {
            Failure::Stopped
        } else if since.elapsed() > waiting.patience {
            Failure::Unreachable(no_answer(waiting.patience))
        } else {
            continue;
        };
        shared.is_stopped.store(true, Ordering::Relaxed);
        return Err(failure);
    }
}

pub(crate) fn no_answer(patience: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", patience.as_secs_f64()))
}

fn copy(archive: &dyn Archive, blob: &Blob, dir: &Path, shared: &Shared) -> Result<(), Failure> {
    if shared.is_stopped.load(Ordering::Relaxed) {
        return Err(Failure::Stopped);
    }
    let path = dir.join(&blob.digest);
    let local = |e| Failure::Local(path.clone(), e);
    // Never open an existing file: a thread that was given up may come back while another attempt uses the folder.
    let file = File::create_new(&path).map_err(local)?;
    let mut sink = Sink { file, hasher: blake3::Hasher::new(), left: blob.size, shared, end: None };
    let fetched = archive.fetch(&blob.digest, &mut sink);
    match (sink.end, fetched) {
        (Some(End::Stopped), _) => Err(Failure::Stopped),
        (Some(End::TooLong), _) => Err(Failure::Wrong(blob.clone())),
        (Some(End::Local(e)), _) => Err(local(e)),
        (None, Err(e)) => Err(Failure::Unreachable(e)),
        (None, Ok(false)) => Err(Failure::Missing(blob.clone())),
        (None, Ok(true)) if sink.hasher.finalize().to_hex().as_str() == blob.digest => Ok(()),
        (None, Ok(true)) => Err(Failure::Wrong(blob.clone())),
    }
}

/// Writes an object to a file and computes its digest.
struct Sink<'a> {
    file: File,
    hasher: blake3::Hasher,
    /// Bytes that may still come.
    left: u64,
    shared: &'a Shared,
    /// Why it took no more bytes.
    end: Option<End>,
}

enum End {
    Stopped,
    TooLong,
    Local(io::Error),
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = if self.shared.is_stopped.load(Ordering::Relaxed) {
            End::Stopped
        } else if bytes.len() as u64 > self.left {
            End::TooLong
        } else if let Err(e) = self.file.write_all(bytes) {
            End::Local(e)
        } else {
            self.hasher.update(bytes);
            self.left -= bytes.len() as u64;
            self.shared.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            return Ok(bytes.len());
        };
        self.end = Some(end);
        Err(io::Error::other("the reader takes no more bytes"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
