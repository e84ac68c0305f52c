//! Copies artifacts to the folders that the pipeline file names, below the project root.

use std::fs;
use std::io;
use std::path::Path;

use crate::judge::job::Job;
use crate::store::artifact::Artifact;
use crate::store::disk::Change;
use crate::store::entry::Entry;
use crate::store::error::CacheError;

/// Copy the outputs of an entry to `base`, below the project root. Returns the folder if anything had to be written.
pub fn export(job: &Job<'_>, base: &Path, entry: &Entry) -> Result<Option<String>, CacheError> {
    let mut wrote = false;
    for (port, artifact) in &entry.outputs {
        let below = if entry.outputs.len() > 1 { base.join(port) } else { base.to_path_buf() };
        wrote |= copy(job, artifact, &below)?;
    }
    Ok(wrote.then(|| base.display().to_string()))
}

fn copy(job: &Job<'_>, artifact: &Artifact, below: &Path) -> Result<bool, CacheError> {
    let mut wrote = false;
    for file in &artifact.files {
        let relative = below.join(&file.path);
        let to = job.root.join(&relative);
        stay_inside(job.root, &relative)?;
        if to.starts_with(job.cache.dir()) {
            return Err(refused(
                "write",
                &to,
                io::Error::other("the folder is inside the cache; export to another folder"),
            ));
        }
        if job.stats.digest(&to).is_ok_and(|d| d == file.digest) {
            continue;
        }
        job.cache.verify(&file.digest)?;
        // One fixed name and one writer at a time: the next run finds and removes what a killed run left.
        let _lock = job.cache.lock("export", &|| false, &|| {})?;
        write(job, &file.digest, &to).map_err(|e| refused("write", &to, e))?;
        wrote = true;
    }
    Ok(wrote)
}

/// Copy an object beside its destination, then rename it into place.
fn write(job: &Job<'_>, digest: &str, to: &Path) -> io::Result<()> {
    let disk = job.cache.disk();
    let (from, dir) = (&job.cache.object_path(digest), to.parent().unwrap_or(job.root));
    let temp = &dir.join(".pipe-export");
    if !dir.is_dir() {
        disk.change(Change::CreateDirAll(dir))?;
    }
    disk.change(Change::Remove(temp))?;
    disk.change(Change::Copy { from, to: temp })?;
    disk.change(Change::Mode { path: temp, mode: 0o644 })?;
    disk.change(Change::SyncFile(temp))?;
    disk.change(Change::Rename { from: temp, to })
}

fn refused(what: &'static str, path: &Path, source: io::Error) -> CacheError {
    CacheError::Export { what, path: path.into(), source }
}

/// Refuse paths through a symbolic link, which could lead anywhere. The root itself may be a link.
fn stay_inside(root: &Path, relative: &Path) -> Result<(), CacheError> {
    let mut path = root.to_path_buf();
    for part in relative.components() {
        path.push(part);
        if fs::symlink_metadata(&path).is_ok_and(|m| m.file_type().is_symlink()) {
            let e = io::Error::other("it is a symbolic link, which could lead out of the project");
            return Err(refused("write through", &path, e));
        }
    }
    Ok(())
}
