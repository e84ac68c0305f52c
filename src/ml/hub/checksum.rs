//! Checks a downloaded file against its etag, which on the Hub is a hash of the content.

use std::fmt::{self, Display};
use std::fs::File;
use std::io;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The hash that a file's content must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Checksum {
    /// SHA-256 of the content: large files, which git stores in LFS.
    Sha256(String),
    /// Git's name of a blob: SHA-1 of `blob LENGTH\0` followed by the content.
    Git(String),
}

impl Checksum {
    /// The checksum in an etag; `None` if the etag is neither hash, as on some mirrors.
    pub(super) fn of(etag: &str) -> Option<Self> {
        let is_hex = etag.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match etag.len() {
            64 if is_hex => Some(Self::Sha256(etag.into())),
            40 if is_hex => Some(Self::Git(etag.into())),
            _ => None,
        }
    }

    pub(super) fn fits(&self, path: &Path) -> io::Result<bool> {
        let mut file = File::open(path)?;
        Ok(match self {
            Self::Sha256(wanted) => {
                let mut hasher = Sha256::new();
                io::copy(&mut file, &mut hasher)?;
                hex(&hasher.finalize()) == *wanted
            }
            Self::Git(wanted) => {
                let mut hasher = Sha1::new_with_prefix(format!("blob {}\0", file.metadata()?.len()));
                io::copy(&mut file, &mut hasher)?;
                hex(&hasher.finalize()) == *wanted
            }
        })
    }
}

impl Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hash) => write!(f, "SHA-256 {hash}"),
            Self::Git(hash) => write!(f, "git hash {hash}"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hashes_are_those_of_git_and_sha256sum() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hello");
        std::fs::write(&path, "hello\n").unwrap();
        // `git hash-object hello` and `sha256sum hello`.
        let git = Checksum::of("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        let sha = Checksum::of("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03").unwrap();
        assert!(git.fits(&path).unwrap() && sha.fits(&path).unwrap());
        std::fs::write(&path, "hullo\n").unwrap();
        assert!(!git.fits(&path).unwrap() && !sha.fits(&path).unwrap());
    }

    #[test]
    fn an_etag_of_another_kind_promises_nothing() {
        for etag in ["", "v1", "9e107d9d372bb6826bd81d3542a419d6", &"g".repeat(40), &"A".repeat(64)] {
            assert_eq!(Checksum::of(etag), None, "{etag}");
        }
    }
}
