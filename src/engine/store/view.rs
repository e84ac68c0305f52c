//! Views: artifacts as folders of links to verified objects, for stages and users to read.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::artifact::{Artifact, ArtifactFile, walk};
use super::cache::Cache;
use super::digest;
use super::disk::Change;
use super::error::CacheError;

impl Cache {
    /// A folder with exactly the artifact's files; this process has verified every byte.
    pub fn view(&self, artifact: &Artifact) -> Result<PathBuf, CacheError> {
        for file in &artifact.files {
            self.verify(&file.digest)?;
        }
        let dir = self.dir().join("views").join(&artifact.digest);
        if self.is_view_of(&dir, artifact) {
            return Ok(dir);
        }
        let temp = self.temp_dir()?;
        let made = self.lay_out(artifact, &temp).and_then(|()| self.put_view(artifact, &temp, &dir));
        if made.is_err() || temp.exists() {
            let _ = self.disk().change(Change::Remove(&temp));
        }
        made.map(|()| dir)
    }

    /// Rename a view into place. If another thread or process has made the same view, that one stays, because it may be
    /// in use.
    fn put_view(&self, artifact: &Artifact, temp: &Path, dir: &Path) -> Result<(), CacheError> {
        for _ in 0..3 {
            match self.disk().change(Change::Rename { from: temp, to: dir }) {
                Err(_) if self.is_view_of(dir, artifact) => return Ok(()),
                Err(_) if fs::symlink_metadata(dir).is_ok() => {
                    self.change("remove the old view", Change::Remove(dir))?
                }
                done => return done.map_err(|e| CacheError::io("create the view", dir, e)),
            }
        }
        Err(CacheError::io("create the view", dir, io::ErrorKind::AlreadyExists.into()))
    }

    /// Create a temporary folder beside the views.
    fn temp_dir(&self) -> Result<PathBuf, CacheError> {
        let views = self.dir().join("views");
        let temp = tempfile::Builder::new()
            .disable_cleanup(true)
            .make_in(&views, |path| self.disk().change(Change::CreateDir(path)))
            .map_err(|e| CacheError::io("create a folder in", &views, e))?;
        Ok(temp.path().to_path_buf())
    }

    fn lay_out(&self, artifact: &Artifact, dir: &Path) -> Result<(), CacheError> {
        for file in &artifact.files {
            let (from, to) = (self.object_path(&file.digest), dir.join(&file.path));
            let parent = to.parent().unwrap_or(dir);
            if parent != dir {
                self.change("create", Change::CreateDirAll(parent))?;
            }
            // Some file systems do not support hard links, and all limit their number per file.
            self.change("link", Change::Link { from: &from, to: &to })
                .or_else(|_| self.change("copy", Change::Copy { from: &from, to: &to }))?;
        }
        Ok(())
    }

    /// A view holds exactly the artifact's files, each with the inode of its object: the verified bytes are the bytes
    /// that are read.
    fn is_view_of(&self, dir: &Path, artifact: &Artifact) -> bool {
        let Ok(found) = walk(dir) else { return false };
        let wanted: BTreeSet<&Path> = artifact.files.iter().map(|f| Path::new(&f.path)).collect();
        found.iter().map(PathBuf::as_path).eq(wanted) && artifact.files.iter().all(|f| self.is_object(dir, f))
    }

    fn is_object(&self, dir: &Path, file: &ArtifactFile) -> bool {
        let path = dir.join(&file.path);
        match (fs::symlink_metadata(&path), fs::symlink_metadata(self.object_path(&file.digest))) {
            (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()) => true,
            // A copy, if the file system has no links.
            (Ok(a), Ok(_)) => a.size() == file.size && digest::file(&path).is_ok_and(|d| d == file.digest),
            _ => false,
        }
    }
}
