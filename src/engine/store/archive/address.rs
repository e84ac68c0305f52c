//! The address of an archive, as users write it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::Folder;
use super::seam::Archive;
use crate::store::disk::Disk;

/// An address that names no archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error(
        "the archive `{address}` has the scheme `{scheme}`, which this version does not support; give a folder or file:///FOLDER"
    )]
    Scheme { address: String, scheme: String },
    #[error("the archive `{address}` names no absolute path; write file:///FOLDER, with three slashes")]
    Relative { address: String },
    #[error("the archive is empty; give a folder or file:///FOLDER")]
    Empty,
    #[error("the archive {} is the cache itself; give another folder", path.display())]
    IsCache { path: PathBuf },
}

/// The folder that an address names: a path or `file:///FOLDER`.
pub fn folder_of(address: &str) -> Result<PathBuf, AddressError> {
    if address.is_empty() {
        return Err(AddressError::Empty);
    }
    let Some((scheme, rest)) = address.split_once("://") else { return Ok(PathBuf::from(address)) };
    if scheme != "file" {
        return Err(AddressError::Scheme { address: address.into(), scheme: scheme.into() });
    }
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if path.starts_with('/') {
        Ok(PathBuf::from(path))
    } else {
        Err(AddressError::Relative { address: address.into() })
    }
}

/// The archive at an address, behind the cache in `cache`. Nothing is read or created yet.
pub fn open(address: &str, cache: &Path, disk: Arc<dyn Disk>) -> Result<Arc<dyn Archive>, AddressError> {
    let path = folder_of(address)?;
    let path = std::path::absolute(&path).unwrap_or(path);
    let is_cache = match (path.canonicalize(), cache.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    };
    if is_cache { Err(AddressError::IsCache { path }) } else { Ok(Arc::new(Folder::open(path, disk))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_or_a_file_url_names_a_folder() {
        for (address, path) in [
            ("/share/pipe", "/share/pipe"),
            ("../share", "../share"),
            ("file:///share/pipe", "/share/pipe"),
            ("file://localhost/share", "/share"),
        ] {
            assert_eq!(folder_of(address).unwrap(), PathBuf::from(path), "{address}");
        }
    }

    #[test]
    fn other_addresses_are_errors_that_say_what_is_supported() {
        for (address, text) in [
            (
                "s3://bucket/x",
                "the archive `s3://bucket/x` has the scheme `s3`, which this version does not support; give a folder or file:///FOLDER",
            ),
            (
                "file://share/x",
                "the archive `file://share/x` names no absolute path; write file:///FOLDER, with three slashes",
            ),
            ("", "the archive is empty; give a folder or file:///FOLDER"),
        ] {
            assert_eq!(folder_of(address).unwrap_err().to_string(), text);
        }
    }
}
