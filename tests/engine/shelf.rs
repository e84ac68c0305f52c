//! A second archive, in memory, that records what it is asked and fails, hangs or lies on purpose.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pipe_engine::store::archive::seam::{Archive, Blob, Item};

#[derive(Default)]
pub struct Shelf {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    entries: Mutex<BTreeMap<String, Vec<u8>>>,
    /// The verbs of all requests, in order.
    pub asked: Mutex<Vec<&'static str>>,
    /// Requests from this one on fail; 0 for none.
    pub fails_from: AtomicUsize,
    /// While set, requests to write do not return.
    pub hangs_on_writes: AtomicBool,
    /// While set, requests to read do not return.
    pub hangs_on_reads: AtomicBool,
}

impl Shelf {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub fn requests(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    pub fn counts(&self) -> (usize, usize) {
        (self.objects.lock().unwrap().len(), self.entries.lock().unwrap().len())
    }

    /// Add bytes to every object.
    pub fn lie(&self) {
        self.objects.lock().unwrap().values_mut().for_each(|bytes| bytes.push(b'!'));
    }

    fn ask(&self, verb: &'static str, hangs: &AtomicBool) -> io::Result<()> {
        while hangs.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut asked = self.asked.lock().unwrap();
        asked.push(verb);
        let from = self.fails_from.load(Ordering::Relaxed);
        if from > 0 && asked.len() >= from { Err(io::Error::other("the shelf fell down")) } else { Ok(()) }
    }
}

impl Archive for Shelf {
    fn name(&self) -> String {
        "shelf".into()
    }

    fn entry(&self, fingerprint: &str) -> io::Result<Option<Vec<u8>>> {
        self.ask("entry", &self.hangs_on_reads)?;
        Ok(self.entries.lock().unwrap().get(fingerprint).cloned())
    }

    fn missing(&self, blobs: &[Blob]) -> io::Result<Vec<Blob>> {
        self.ask("missing", &self.hangs_on_reads)?;
        let objects = self.objects.lock().unwrap();
        Ok(blobs.iter().filter(|b| !objects.contains_key(&b.digest)).cloned().collect())
    }

    fn fetch(&self, digest: &str, into: &mut dyn Write) -> io::Result<bool> {
        self.ask("fetch", &self.hangs_on_reads)?;
        let Some(bytes) = self.objects.lock().unwrap().get(digest).cloned() else { return Ok(false) };
        bytes.chunks(7).try_for_each(|some| into.write_all(some)).map(|()| true)
    }

    fn store(&self, blob: &Blob, from: &Path) -> io::Result<()> {
        self.ask("store", &self.hangs_on_writes)?;
        self.objects.lock().unwrap().insert(blob.digest.clone(), fs::read(from)?);
        Ok(())
    }

    fn store_entry(&self, fingerprint: &str, bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.ask("store entry", &self.hangs_on_writes)?;
        let mut entries = self.entries.lock().unwrap();
        let before = entries.get(fingerprint).cloned();
        entries.entry(fingerprint.into()).or_insert_with(|| bytes.to_vec());
        Ok(before)
    }

    fn set_aside(&self, item: Item<'_>) -> io::Result<()> {
        self.ask("set aside", &self.hangs_on_writes)?;
        match item {
            Item::Object(digest) => self.objects.lock().unwrap().remove(digest),
            Item::Entry(fingerprint) => self.entries.lock().unwrap().remove(fingerprint),
        };
        Ok(())
    }
}
