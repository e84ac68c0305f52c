//! Recognises the small text that Git LFS leaves in place of a large file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// How a pointer begins, whatever its version.
const BEGIN: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Fails if the file at `path` is a Git LFS pointer.
pub fn check(path: &Path) -> Result<()> {
    let mut head = Vec::with_capacity(BEGIN.len());
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(BEGIN.len() as u64).read_to_end(&mut head).with_context(|| format!("cannot read {}", path.display()))?;
    check_bytes(&head).with_context(|| format!("cannot read {}", path.display()))
}

/// Fails if a file with this beginning is a Git LFS pointer. The message does not name the file.
pub(crate) fn check_bytes(head: &[u8]) -> Result<()> {
    ensure!(!head.starts_with(BEGIN), "a Git LFS pointer, not the file itself; download the file with `git lfs pull`");
    Ok(())
}

/// Reads a small file whole; fails if it is a Git LFS pointer.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    check_bytes(&bytes).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_named_and_other_files_pass() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train.csv");
        std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n").unwrap();
        let expected = format!(
            "cannot read {}: a Git LFS pointer, not the file itself; download the file with `git lfs pull`",
            path.display()
        );
        assert_eq!(format!("{:#}", check(&path).unwrap_err()), expected);
        assert_eq!(format!("{:#}", read(&path).unwrap_err()), expected);
        for text in ["", "version", "text,label\nversion https://git-lfs.github.com/spec/v1,1\n"] {
            std::fs::write(&path, text).unwrap();
            check(&path).unwrap();
            assert_eq!(read(&path).unwrap(), text.as_bytes());
        }
    }
}
