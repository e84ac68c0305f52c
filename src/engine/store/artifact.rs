//! Artifacts: the directories of files that flow through ports, identified by their content.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::CacheError;

/// A committed artifact: its files with their paths, sizes and digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    #[serde(rename = "type")]
    pub ty: String,
    /// blake3 over the type and the files' paths and digests.
    pub digest: String,
    /// Sorted by path.
    pub files: Vec<ArtifactFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ArtifactFile {
    /// Relative, with `/` as separator; it never leads out of the artifact's folder.
    pub path: String,
    pub size: u64,
    pub digest: String,
}

impl Artifact {
    pub fn new(ty: &str, mut files: Vec<ArtifactFile>) -> Self {
        files.sort();
        let digest = Self::digest_of(ty, &files);
        Self { ty: ty.into(), digest, files }
    }

    fn digest_of(ty: &str, files: &[ArtifactFile]) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(ty.as_bytes());
        for file in files {
            part(file.path.as_bytes());
            part(file.digest.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Whether the digest matches the record and every path is unique and stays inside the artifact's folder. A path
    /// that occurs twice would let the second file be written through the first one's link, into an object of the
    /// cache.
    pub fn is_sound(&self) -> bool {
        self.files.is_sorted_by(|a, b| a.path < b.path)
            && self.digest == Self::digest_of(&self.ty, &self.files)
            && self.files.iter().all(|f| is_inside(&f.path) && is_digest(&f.digest))
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.size).sum()
    }
}

/// Whether a path is relative and has only plain names.
fn is_inside(path: &str) -> bool {
    use std::path::Component;
    !path.is_empty() && Path::new(path).components().all(|c| matches!(c, Component::Normal(_)))
}

pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// All regular files below `dir`, relative to it and sorted. Links, sockets and other special files are errors, because
/// they could lead out of the folder.
pub(crate) fn walk(dir: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        let here = dir.join(&below);
        let entries = fs::read_dir(&here).map_err(|e| CacheError::io("read the folder", &here, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| CacheError::io("read the folder", &here, e))?;
            let path = below.join(entry.file_name());
            let kind = entry.file_type().map_err(|e| CacheError::io("read the metadata of", &dir.join(&path), e))?;
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                found.insert(path);
            } else {
                return Err(CacheError::NotAFile { path: dir.join(&path) });
            }
        }
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> ArtifactFile {
        ArtifactFile { path: path.into(), size: 1, digest: "0".repeat(64) }
    }

    #[test]
    fn a_record_that_leaves_its_folder_or_was_changed_is_not_sound() {
        assert!(Artifact::new("corpus", vec![file("a/b.txt")]).is_sound());
        for path in ["../x", "/etc/passwd", "a/../../x", ""] {
            assert!(!Artifact::new("corpus", vec![file(path)]).is_sound(), "{path}");
        }
        assert!(!Artifact::new("corpus", vec![file("a"), ArtifactFile { size: 2, ..file("a") }]).is_sound());
        let mut changed = Artifact::new("corpus", vec![file("a")]);
        changed.files[0].path = "b".into();
        assert!(!changed.is_sound());
    }
}
