//! What an archive has to do: keep objects by digest and entries by fingerprint, in plain data types.

use std::io::{self, Write};
use std::path::Path;

use crate::store::artifact::Artifact;
use crate::store::entry::Entry;

/// A second store behind the cache. Several machines may use it at the same time.
///
/// An archive only keeps bytes: its users verify everything that they read from it, and store the entry of a result
/// after the objects. An error means that the archive could not be asked; what it does not have is no error.
pub trait Archive: Send + Sync {
    /// Its address, for messages.
    fn name(&self) -> String;

    /// The bytes of an entry, as they were stored.
    fn entry(&self, fingerprint: &str) -> io::Result<Option<Vec<u8>>>;

    /// Those of the blobs that it does not have, or has in another size.
    fn missing(&self, blobs: &[Blob]) -> io::Result<Vec<Blob>>;

    /// Write the bytes of an object to `into`; false if there is no such object.
    fn fetch(&self, digest: &str, into: &mut dyn Write) -> io::Result<bool>;

    /// Store the bytes of a file as an object. An object that is there already, in this size, stays.
    fn store(&self, blob: &Blob, from: &Path) -> io::Result<()>;

    /// Store an entry. If there is one already, it stays and is returned.
    ///
    /// When this returns, the objects that were stored before are as safe from a crash as the entry.
    fn store_entry(&self, fingerprint: &str, bytes: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Move something unusable out of the way, so that it can be stored again. It may be gone already.
    fn set_aside(&self, item: Item<'_>) -> io::Result<()>;
}

/// An object: its name, which is the digest of its bytes, and its size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    pub digest: String,
    pub size: u64,
}

/// Something that an archive keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// By digest.
    Object(&'a str),
    /// By fingerprint.
    Entry(&'a str),
}

/// Whether an archive is only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Read,
    ReadWrite,
}

impl Entry {
    /// The objects of the result, each once.
    pub fn blobs(&self) -> Vec<Blob> {
        let files = self.outputs.values().flat_map(|artifact| &artifact.files);
        let mut all: Vec<Blob> = files.map(|f| Blob { digest: f.digest.clone(), size: f.size }).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The files whose content differs from those of another result of the same stage, as `port/path`.
    pub(crate) fn differing(&self, other: &Self) -> Vec<String> {
        let files = |entry: &Self| -> Vec<(String, String)> {
            let of = |(port, artifact): (&String, &Artifact)| -> Vec<(String, String)> {
                artifact.files.iter().map(|f| (format!("{port}/{}", f.path), f.digest.clone())).collect()
            };
            entry.outputs.iter().flat_map(of).collect()
        };
        let (mine, theirs) = (files(self), files(other));
        let only = |these: &[(String, String)], those: &[(String, String)]| -> Vec<String> {
            these.iter().filter(|file| !those.contains(file)).map(|(path, _)| path.clone()).collect()
        };
        let mut all = only(&mine, &theirs);
        all.extend(only(&theirs, &mine));
        all.sort();
        all.dedup();
        all
    }
}
