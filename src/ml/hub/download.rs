//! Downloads files of the Hub: resumes partial files, verifies the content, and renames a file only once it is complete.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::checksum::Checksum;
use super::client::{Client, Content, Head, TRIES, broken_body};
use super::failure::{At, Failure};
use super::reference::{Reference, is_inside, is_plain};
use super::store::{Store, make_dir};
use crate::watch::{Interrupted, Progress, Watch};

/// How many bytes are read before they are written and reported as progress.
const CHUNK: usize = 256 << 10;

/// The download of one commit's files into the cache.
pub(super) struct Download<'a> {
    pub client: &'a Client<'a>,
    pub store: &'a Store,
    pub reference: &'a Reference,
    pub commit: &'a str,
    pub watch: &'a dyn Watch,
    /// Bytes downloaded so far, and bytes in total.
    pub done: u64,
    pub total: u64,
}

/// A file as the Hub describes it in its headers.
struct Remote<'a> {
    name: &'a str,
    etag: String,
    size: Option<u64>,
}

impl Download<'_> {
    /// Returns each file's name and blob path, downloading the blobs that the cache lacks.
    pub(super) fn fetch(&mut self, names: &[String]) -> Result<Vec<(String, PathBuf)>, Failure> {
        let files: Vec<Remote> = names.iter().map(|name| self.announce(name)).collect::<Result<_, _>>()?;
        // Add up all sizes first: progress covers the whole download, not one file after the other.
        self.total += files.iter().filter_map(|file| file.size).sum::<u64>();
        files.iter().map(|file| Ok((file.name.to_owned(), self.content(file)?))).collect()
    }

    /// Requests the etag and size of a file.
    fn announce<'n>(&self, name: &'n str) -> Result<Remote<'n>, Failure> {
        let unfit = |what: String| Err(Failure::Unfit(format!("{what}; if HF_ENDPOINT names a mirror, try another")));
        if !is_inside(name) || (!self.reference.is_dataset && name.contains('/')) {
            return unfit(format!("the Hub listed an invalid file name: `{name}`"));
        }
        let path = self.path(name);
        let Head { etag, size } = self.client.with_retries(self.watch, || self.client.head(&path))?;
        if !is_plain(&etag) {
            return unfit(format!("the Hub sent an invalid etag for {name}: `{etag}`"));
        }
        Ok(Remote { name, etag, size })
    }

    fn content(&mut self, file: &Remote) -> Result<PathBuf, Failure> {
        let blob = self.store.blob(&file.etag);
        let start = self.done;
        if !is_whole(&blob, file.size) {
            let _lock = self.store.lock(&file.etag, self.watch)?;
            // Another process may have downloaded it while this one waited for the lock.
            if !is_whole(&blob, file.size) {
                self.complete(file, &blob)?;
            }
        }
        self.tell(start + file.size.unwrap_or(0));
        Ok(blob)
    }

    fn complete(&mut self, file: &Remote, blob: &Path) -> Result<(), Failure> {
        make_dir(blob.parent().unwrap_or(blob))?;
        let partial = blob.with_file_name(format!("{}.incomplete", file.etag));
        let checksum = Checksum::of(&file.etag);
        let before = self.done;
        // The partial file of an earlier run may be damaged: the second attempt starts from nothing.
        for _ in 0..2 {
            self.done = before;
            self.fill(file, &partial)?;
            let is_sound = match &checksum {
                Some(checksum) => checksum.fits(&partial).at("read", &partial)?,
                None => is_whole(&partial, file.size),
            };
            if is_sound {
                return fs::rename(&partial, blob).at("write", blob);
            }
            fs::remove_file(&partial).at("remove", &partial)?;
        }
        let promised =
            checksum.map_or_else(|| format!("length {}", file.size.unwrap_or(0)), |checksum| checksum.to_string());
        Err(Failure::Damaged { name: file.name.into(), promised })
    }

    /// Appends to the partial file until it is complete.
    fn fill(&mut self, file: &Remote, partial: &Path) -> Result<(), Failure> {
        let before = self.done;
        let mut failed = 0;
        loop {
            self.done = before;
            let had = length(partial);
            let failure = match self.append(file, partial) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            // Keep retrying as long as each attempt makes progress.
            let gained = length(partial) > had;
            failed = if gained { 0 } else { failed + 1 };
            let may_retry = failure.is_temporary() || (gained && matches!(failure, Failure::Unreachable { .. }));
            if !may_retry || failed == TRIES {
                return Err(failure);
            }
            self.client.pause(failed, self.watch)?;
        }
    }

    fn append(&mut self, file: &Remote, partial: &Path) -> Result<(), Failure> {
        let had = length(partial);
        if file.size == Some(had) && had > 0 {
            return Ok(());
        }
        // A partial file longer than the whole one cannot be a part of it: start over.
        let from = if file.size.is_some_and(|size| had > size) { 0 } else { had };
        let content = match self.client.get(&self.path(file.name), from) {
            Err(Failure::Refused { status: 416, host, .. }) => {
                fs::remove_file(partial).at("remove", partial)?;
                return Err(Failure::Broken {
                    host,
                    why: format!("the server rejected the byte range for {}", file.name),
                });
            }
            answer => answer?,
        };
        let start = if content.start == from { from } else { 0 };
        if start != content.start {
            return Err(Failure::Broken {
                host: content.host,
                why: "the server sent a different byte range than requested".into(),
            });
        }
        let mut out = File::options().create(true).truncate(false).write(true).open(partial).at("write", partial)?;
        if start < had {
            out.set_len(start).at("write", partial)?;
        }
        out.seek(SeekFrom::Start(start)).at("write", partial)?;
        self.tell(self.done + start);
        self.copy(file, content, &mut out, partial)?;
        // Sync before the rename: after a power cut the final name must not point to missing content.
        out.sync_all().at("write", partial)
    }

    /// Writes the body to the partial file and reports progress.
    fn copy(&mut self, file: &Remote, content: Content, out: &mut File, partial: &Path) -> Result<(), Failure> {
        let start = content.start;
        // Read at most one byte too many: that is enough for the check to fail, and a server cannot fill the disk.
        let mut body = content.body.take(file.size.map_or(u64::MAX, |size| size - start + 1));
        let mut chunk = vec![0; CHUNK];
        let mut length = start;
        loop {
            if self.watch.stopped() {
                return Err(Interrupted.into());
            }
            let read = body.read(&mut chunk).map_err(|error| broken_body(error, &content.host))?;
            if read == 0 {
                break;
            }
            out.write_all(&chunk[..read]).at("write", partial)?;
            length += read as u64;
            self.tell(self.done + read as u64);
        }
        if let Some(size) = file.size.filter(|size| length < *size) {
            let why = format!("{} ended after {length} of {size} bytes", file.name);
            return Err(Failure::Broken { host: content.host, why });
        }
        Ok(())
    }

    fn tell(&mut self, done: u64) {
        self.done = done;
        self.watch.progress(Progress { done, total: self.total.max(done), unit: "byte", ..Progress::default() });
    }

    fn path(&self, name: &str) -> String {
        self.reference.file(self.commit, name)
    }
}

/// Whether a blob exists and has the expected length.
fn is_whole(blob: &Path, size: Option<u64>) -> bool {
    blob.metadata().is_ok_and(|found| found.is_file() && size.is_none_or(|size| size == found.len()))
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |found| found.len())
}
