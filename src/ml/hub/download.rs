//! Fetches a file of the Hub: continued where a try before ended, checked, and only then given its name.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::checksum::Checksum;
use super::client::{Client, Content, Head, TRIES, broken_body};
use super::failure::{At, Failure};
use super::reference::{Reference, is_plain};
use super::store::{Store, make_dir};
use crate::watch::{Interrupted, Progress, Watch};

/// Bytes read before they are written and told.
const CHUNK: usize = 256 << 10;

/// The files of one commit on their way into the cache.
pub struct Download<'a> {
    pub client: &'a Client<'a>,
    pub store: &'a Store,
    pub reference: &'a Reference,
    pub commit: &'a str,
    pub watch: &'a dyn Watch,
    /// Bytes that are here, and those that are wanted.
    pub done: u64,
    pub total: u64,
}

/// A file as the Hub describes it.
struct Remote<'a> {
    name: &'a str,
    etag: String,
    size: Option<u64>,
}

impl Download<'_> {
    /// The contents of files by name, each fetched unless the cache has it.
    pub fn fetch(&mut self, names: &[String]) -> Result<Vec<(String, PathBuf)>, Failure> {
        let files: Vec<Remote> = names.iter().map(|name| self.announce(name)).collect::<Result<_, _>>()?;
        // Told of all together: progress is of what there is to do, not of one file after the other.
        self.total += files.iter().filter_map(|file| file.size).sum::<u64>();
        files.iter().map(|file| Ok((file.name.to_owned(), self.content(file)?))).collect()
    }

    /// Asks what a file is.
    fn announce<'n>(&self, name: &'n str) -> Result<Remote<'n>, Failure> {
        let unfit = |what: String| Err(Failure::Unfit(format!("{what}; if HF_ENDPOINT names a mirror, try another")));
        if !is_plain(name) {
            return unfit(format!("the hub names a file `{name}`, which is no name of one"));
        }
        let path = self.path(name);
        let Head { etag, size } = self.client.patiently(self.watch, || self.client.head(&path))?;
        if !is_plain(&etag) {
            return unfit(format!("the hub does not say what {name} is: its etag is `{etag}`"));
        }
        Ok(Remote { name, etag, size })
    }

    fn content(&mut self, file: &Remote) -> Result<PathBuf, Failure> {
        let blob = self.store.blob(&file.etag);
        let start = self.done;
        if !is_whole(&blob, file.size) {
            let _lock = self.store.lock(&file.etag, self.watch)?;
            // It may have come while the lock was waited for.
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
        // What an earlier try left may be damaged: the second try starts from nothing.
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

    /// Appends to the partial file until it is as long as the whole one.
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
            // As long as something comes, there is hope.
            let gained = length(partial) > had;
            failed = if gained { 0 } else { failed + 1 };
            let is_hopeful = failure.is_passing() || (gained && matches!(failure, Failure::Unreachable { .. }));
            if !is_hopeful || failed == TRIES {
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
        // More than there should be is the work of something else.
        let from = if file.size.is_some_and(|size| had > size) { 0 } else { had };
        let content = match self.client.get(&self.path(file.name), from) {
            Err(Failure::Refused { status: 416, host, .. }) => {
                fs::remove_file(partial).at("remove", partial)?;
                return Err(Failure::Broken { host, why: format!("it does not continue {}", file.name) });
            }
            answer => answer?,
        };
        let start = if content.start == from { from } else { 0 };
        if start != content.start {
            return Err(Failure::Broken { host: content.host, why: "it sends another part than was asked for".into() });
        }
        let mut out = File::options().create(true).truncate(false).write(true).open(partial).at("write", partial)?;
        if start < had {
            out.set_len(start).at("write", partial)?;
        }
        out.seek(SeekFrom::Start(start)).at("write", partial)?;
        self.tell(self.done + start);
        self.copy(file, content, &mut out, partial)?;
        // The name must not outlive the content when the power goes.
        out.sync_all().at("write", partial)
    }

    /// Writes what comes, and counts it.
    fn copy(&mut self, file: &Remote, content: Content, out: &mut File, partial: &Path) -> Result<(), Failure> {
        let start = content.start;
        // A byte more than is due shows that the content is another one; a server may not fill the disk.
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
        let repo = self.reference.repo(self.commit);
        format!("{}/resolve/{}/{name}", repo.url(), repo.url_revision())
    }
}

/// Whether a content is there; one of another length is the work of something else.
fn is_whole(blob: &Path, size: Option<u64>) -> bool {
    blob.metadata().is_ok_and(|found| found.is_file() && size.is_none_or(|size| size == found.len()))
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |found| found.len())
}
