//! An archive as one process uses it behind its cache: nothing that the archive does or does not do fails a run.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::download::{Failure, Waiting, download, no_answer};
use super::outbox::Outbox;
use super::seam::{Archive, Blob, Item, Mode};
use crate::store::cache::Cache;
use crate::store::entry::Entry;
use crate::store::error::{CacheError, is_read_only};
use crate::store::lease::Shared;

/// The longest wait for an answer of the archive, and for the next byte of an object.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest wait for uploads at the end of a run.
pub const WAIT: Duration = Duration::from_secs(60);

/// Objects per question, so that each is answered soon even by a slow archive.
const BATCH: usize = 500;

/// How often an entry that cannot be used is replaced before another writer is let win.
const ATTEMPTS: usize = 3;

/// An archive with what this process knows about it.
pub struct Client {
    archive: Arc<dyn Archive>,
    mode: Mode,
    patience: Duration,
    wait: Duration,
    /// Set by the first failure to read or to write; the archive is then not asked again.
    reading_failed: AtomicBool,
    writing_failed: AtomicBool,
    /// Results with a wrong object in the archive: all their objects are verified before they are delivered again.
    suspects: Mutex<HashSet<String>>,
    /// Warnings that nobody took yet, and all that there were.
    warnings: Mutex<(Vec<Warning>, HashSet<Warning>)>,
}

/// Something that users should know and that fails nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Warning {
    pub stage: Option<String>,
    pub text: String,
}

/// A result by fingerprint, with its stage for messages.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub fingerprint: &'a str,
    pub stage: Option<&'a str>,
}

/// A result that the archive has.
#[derive(Debug, Clone)]
pub struct Held {
    pub entry: Entry,
    /// The objects that the cache lacks.
    pub lacking: Vec<Blob>,
}

impl Held {
    /// The bytes to fetch.
    pub fn bytes(&self) -> u64 {
        self.lacking.iter().map(|b| b.size).sum()
    }
}

/// How a delivery to the archive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It was stored; so many bytes of objects were new.
    Stored { bytes: u64 },
    /// The archive had it.
    Present,
    /// The archive has another result, which stays; a warning says what differs.
    Differs,
    /// The cache no longer has it.
    Gone,
}

/// Why a result was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    #[error("{0}")]
    Archive(io::Error),
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl From<io::Error> for Undelivered {
    fn from(error: io::Error) -> Self {
        Self::Archive(error)
    }
}

impl Client {
    pub fn new(archive: Arc<dyn Archive>, mode: Mode) -> Self {
        Self {
            archive,
            mode,
            patience: PATIENCE,
            wait: WAIT,
            reading_failed: AtomicBool::new(false),
            writing_failed: AtomicBool::new(false),
            suspects: Mutex::default(),
            warnings: Mutex::default(),
        }
    }

    /// Set the longest wait for an answer.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Set the longest wait for uploads at the end of a run.
    pub fn wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    pub fn name(&self) -> String {
        self.archive.name()
    }

    pub fn writes(&self) -> bool {
        self.mode == Mode::ReadWrite
    }

    pub(crate) fn longest_wait(&self) -> Duration {
        self.wait
    }

    pub(crate) fn outbox(&self, cache: &Cache) -> Outbox {
        Outbox::of(cache, &self.name())
    }

    /// The warnings since the last call. No text is given twice.
    pub fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner).0)
    }

    pub(crate) fn warn(&self, stage: Option<&str>, text: String) {
        let warning = Warning { stage: stage.map(str::to_string), text };
        let mut guard = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.1.insert(warning.clone()) {
            guard.0.push(warning);
        }
    }

    /// The result in the archive, if it is complete there or in the cache. Changes nothing; verifies the entry only.
    pub fn lookup(&self, cache: &Cache, wanted: Wanted<'_>) -> Result<Option<Held>, CacheError> {
        let fingerprint = wanted.fingerprint.to_string();
        let Some(bytes) = self.ask(move |archive| archive.entry(&fingerprint)).flatten() else { return Ok(None) };
        let Some(entry) = parse(wanted.fingerprint, &bytes) else {
            self.warn(wanted.stage, self.damaged(&format!("the entry {}", short(wanted.fingerprint))));
            return Ok(None);
        };
        let mut lacking = Vec::new();
        for blob in entry.blobs() {
            if !cache.holds(&blob)? {
                lacking.push(blob);
            }
        }
        for some in lacking.chunks(BATCH) {
            let asked = some.to_vec();
            let Some(missing) = self.ask(move |archive| archive.missing(&asked)) else { return Ok(None) };
            if let Some(first) = missing.first() {
                self.warn(wanted.stage, self.incomplete(first));
                return Ok(None);
            }
        }
        Ok(Some(Held { entry, lacking }))
    }

    /// Bring a result into the cache: verified objects first, then the entry, as if the stage had run here. The caller
    /// holds the lock of the fingerprint. Returns the lock of the cache under which the result is certain to exist; None
    /// if the archive turned out not to have it, which a warning explains.
    pub fn fetch(
        &self,
        cache: &Cache,
        wanted: Wanted<'_>,
        held: &Held,
        stopped: &dyn Fn() -> bool,
        progress: &dyn Fn(u64),
    ) -> Result<Option<Shared>, CacheError> {
        let partial = cache.partial(wanted.fingerprint);
        partial.prepare()?;
        let mut lacking = held.lacking.clone();
        let mut fetched = BTreeSet::new();
        loop {
            let waiting = Waiting { stopped, progress, patience: self.patience };
            match download(&self.archive, &lacking, &partial.out(), &waiting) {
                Ok(()) => fetched.extend(lacking.drain(..).map(|blob| blob.digest)),
                Err(failure) => return self.not_fetched(wanted, failure).map(|()| None),
            }
            let shared = cache.shared()?;
            // A collection may have removed objects that the cache had.
            for blob in held.entry.blobs() {
                if !fetched.contains(&blob.digest) && !cache.holds(&blob)? {
                    lacking.push(blob);
                }
            }
            if lacking.is_empty() {
                cache.commit_fetched(wanted.fingerprint, &held.entry, &fetched)?;
                partial.clear();
                return Ok(Some(shared));
            }
        }
    }

    fn not_fetched(&self, wanted: Wanted<'_>, failure: Failure) -> Result<(), CacheError> {
        match failure {
            Failure::Stopped => return Err(CacheError::Interrupted),
            Failure::Local(path, e) => return Err(CacheError::io("write", &path, e)),
            Failure::Unreachable(e) => self.lose_reading(&e),
            Failure::Missing(blob) => self.warn(wanted.stage, self.incomplete(&blob)),
            Failure::Wrong(blob) => {
                self.warn(wanted.stage, self.damaged(&format!("the object {}", short(&blob.digest))));
                let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
                suspects.insert(wanted.fingerprint.to_string());
                drop(suspects);
                if self.writes()
                    && let Err(e) = self.archive.set_aside(Item::Object(&blob.digest))
                {
                    self.lose_writing(&e);
                }
            }
        }
        Ok(())
    }

    /// Store a result of the cache: its objects first, then its entry.
    pub fn deliver(&self, cache: &Cache, wanted: Wanted<'_>) -> Result<Delivery, Undelivered> {
        let Some(entry) = cache.entry(wanted.fingerprint)? else { return Ok(Delivery::Gone) };
        if self.suspects.lock().unwrap_or_else(PoisonError::into_inner).remove(wanted.fingerprint) {
            self.clear_wrong(&entry)?;
        }
        if let Some(theirs) = self.archive.entry(wanted.fingerprint)?
            && let Some(delivery) = self.settled(wanted, &entry, &theirs)?
        {
            return Ok(delivery);
        }
        let missing = self.archive.missing(&entry.blobs())?;
        for blob in &missing {
            match cache.verify(&blob.digest) {
                Err(CacheError::Damaged(_)) => return Ok(Delivery::Gone),
                verified => verified?,
            }
            self.archive.store(blob, &cache.object_path(&blob.digest))?;
        }
        let bytes = entry.to_bytes().map_err(io::Error::from)?;
        for _ in 0..ATTEMPTS {
            let Some(theirs) = self.archive.store_entry(wanted.fingerprint, &bytes)? else {
                return Ok(Delivery::Stored { bytes: missing.iter().map(|b| b.size).sum() });
            };
            if let Some(delivery) = self.settled(wanted, &entry, &theirs)? {
                return Ok(delivery);
            }
            self.archive.set_aside(Item::Entry(wanted.fingerprint))?;
        }
        Err(io::Error::other("another process keeps storing an entry that cannot be used").into())
    }

    /// Set aside the wrong ones of the objects that the archive has.
    fn clear_wrong(&self, entry: &Entry) -> io::Result<()> {
        for blob in entry.blobs() {
            let mut hasher = blake3::Hasher::new();
            let is_there = self.archive.fetch(&blob.digest, &mut hasher)?;
            if is_there && hasher.finalize().to_hex().as_str() != blob.digest {
                self.archive.set_aside(Item::Object(&blob.digest))?;
            }
        }
        Ok(())
    }

    /// Whether the entry in the archive stays: it is sound and all its objects are there.
    fn settled(&self, wanted: Wanted<'_>, mine: &Entry, theirs: &[u8]) -> io::Result<Option<Delivery>> {
        let Some(theirs) = parse(wanted.fingerprint, theirs) else { return Ok(None) };
        if !self.archive.missing(&theirs.blobs())?.is_empty() {
            return Ok(None);
        }
        let differing = mine.differing(&theirs);
        let Some(first) = differing.first() else { return Ok(Some(Delivery::Present)) };
        let more = if differing.len() > 1 { format!(" and {} more", differing.len() - 1) } else { String::new() };
        self.warn(
            wanted.stage,
            format!(
                "the archive {} has another result for fingerprint {}, made on {} by version {}: {first}{more} differs; \
                 the archive keeps the first result, and this cache its own",
                self.name(),
                short(wanted.fingerprint),
                theirs.made.device,
                theirs.made.version
            ),
        );
        Ok(Some(Delivery::Differs))
    }

    /// Ask on a thread of its own, because a dead file system may never answer. None after a failure.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Archive) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        if self.reading_failed.load(Ordering::Relaxed) {
            return None;
        }
        let (send, receive) = mpsc::channel();
        let archive = self.archive.clone();
        let asked = thread::Builder::new().name("archive".into()).spawn(move || {
            let _ = send.send(question(archive.as_ref()));
        });
        let answer = asked.and_then(|_| receive.recv_timeout(self.patience).unwrap_or(Err(no_answer(self.patience))));
        answer.inspect_err(|e| self.lose_reading(e)).ok()
    }

    /// Warn once, and do without the archive from now on.
    fn lose_reading(&self, error: &io::Error) {
        if !self.reading_failed.swap(true, Ordering::Relaxed) {
            let name = self.name();
            self.warn(
                None,
                format!("cannot read the archive {name}: {error}; the rest of this run goes on without it"),
            );
        }
    }

    pub(crate) fn lose_writing(&self, error: &io::Error) {
        if !self.writing_failed.swap(true, Ordering::Relaxed) {
            let advice =
                if is_read_only(error) { "; use `--archive-mode read` if it is read-only for you" } else { "" };
            let name = self.name();
            let later = "the results are in the cache, and the next run or `pipe push` delivers them";
            self.warn(None, format!("cannot write to the archive {name}: {error}{advice}; {later}"));
        }
    }

    pub(crate) fn has_lost_writing(&self) -> bool {
        self.writing_failed.load(Ordering::Relaxed)
    }

    /// Whether the archive failed to answer a question.
    pub fn has_failed(&self) -> bool {
        self.reading_failed.load(Ordering::Relaxed)
    }

    fn damaged(&self, what: &str) -> String {
        format!("{what} in the archive {} is damaged; the stage runs here", self.name())
    }

    fn incomplete(&self, blob: &Blob) -> String {
        format!(
            "the archive {} lacks the object {} of this result; the stage runs here",
            self.name(),
            short(&blob.digest)
        )
    }
}

/// The entry, if the bytes are intact and of this fingerprint.
fn parse(fingerprint: &str, bytes: &[u8]) -> Option<Entry> {
    Entry::from_bytes(bytes).filter(|entry| entry.manifest.fingerprint() == fingerprint)
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
