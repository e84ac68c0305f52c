//! Garbage collection: remove results that nothing needs, safely beside running processes.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::artifact::{is_digest, walk};
use super::cache::Cache;
use super::disk::Change;
use super::entry::Entry;
use super::error::CacheError;
use super::lease::Alone;
use super::log::is_written;

type Keeps<'a> = &'a dyn Fn(&str, u64) -> bool;

/// Whether to remove or only to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Remove,
    DryRun,
}

/// What a collection removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Collected {
    pub results: Vec<Gone>,
    pub kept_results: usize,
    /// Results that only a running process still uses.
    pub in_use: usize,
    /// Logs of runs that have ended.
    pub logs: usize,
    pub files: usize,
    pub bytes: u64,
    pub kept_bytes: u64,
}

/// A result that a collection removed, or would remove.
#[derive(Debug, Clone, PartialEq)]
pub struct Gone {
    pub fingerprint: String,
    pub kind: String,
    /// How long it took to make.
    pub seconds: f64,
}

impl Cache {
    /// Remove every result, partial folder and log for which `keeps` is false, given its fingerprint (of a log, the run's
    /// id) and creation time (seconds since 1970), except the trials of those that are kept; then remove every file that no
    /// remaining result needs.
    ///
    /// Entries are removed before their objects: a collection that is killed leaves unused objects, never incomplete
    /// results.
    pub fn collect(&self, mode: Mode, keeps: Keeps<'_>) -> Result<Collected, CacheError> {
        let alone = self.alone()?;
        let leased = self.leased(&alone)?;
        let mut done = Collected::default();
        let mut kept: Vec<Entry> = Vec::new();
        let mut entries: Vec<(String, Entry)> = Vec::new();
        let mut trials: HashSet<String> = self.trials_of_partial(keeps)?;
        for fingerprint in self.fingerprints()? {
            // Reading moves a damaged entry away.
            let Some(entry) = self.read_entry(&fingerprint)? else { continue };
            if keeps(&fingerprint, entry.made.at) {
                trials.extend(entry.made.subs.iter().map(|sub| sub.fingerprint.clone()));
            }
            entries.push((fingerprint, entry));
        }
        for (fingerprint, entry) in entries {
            let is_used = leased.as_ref().is_some_and(|all| all.contains(&fingerprint));
            let is_needed = keeps(&fingerprint, entry.made.at) || trials.contains(&fingerprint);
            if is_needed || is_used {
                done.in_use += usize::from(!is_needed);
                done.kept_results += 1;
                kept.push(entry);
                continue;
            }
            if mode == Mode::Remove {
                self.forget(&fingerprint)?;
            }
            done.results.push(Gone { fingerprint, kind: entry.kind, seconds: entry.made.seconds });
        }
        let needed = Needed::of(&kept, leased.is_some());
        let sweep = Sweep { cache: self, mode, _alone: &alone };
        sweep.objects(&needed, &mut done)?;
        sweep.views(&needed)?;
        sweep.partial(keeps)?;
        sweep.logs(keeps, &mut done)?;
        sweep.damaged(&mut done)?;
        Ok(done)
    }

    /// The results of trials of the unfinished stages that are kept.
    fn trials_of_partial(&self, keeps: Keeps<'_>) -> Result<HashSet<String>, CacheError> {
        let mut all = HashSet::new();
        for path in list(&self.dir().join("partial"))? {
            let fingerprint = name(&path);
            if is_digest(&fingerprint) && keeps(&fingerprint, last_touched(&path)) {
                all.extend(self.partial(&fingerprint).referred());
            }
        }
        Ok(all)
    }

    /// Everything that a collection could remove: the fingerprints of results and partial results, and the ids of runs
    /// with logs.
    pub fn collectable(&self) -> Result<HashSet<String>, CacheError> {
        let mut all: HashSet<String> = self.fingerprints()?.into_iter().collect();
        all.extend(list(&self.dir().join("partial"))?.iter().map(|path| name(path)).filter(|n| is_digest(n)));
        all.extend(self.log_ids()?);
        Ok(all)
    }
}

/// The objects and views of the kept results.
struct Needed {
    objects: HashSet<String>,
    views: HashSet<String>,
    /// Whether another process is running: views that it is creating have a temporary name.
    is_in_use: bool,
}

impl Needed {
    fn of(kept: &[Entry], is_in_use: bool) -> Self {
        let artifacts = || kept.iter().flat_map(|e| e.outputs.values());
        Self {
            objects: artifacts().flat_map(|a| &a.files).map(|f| f.digest.clone()).collect(),
            views: artifacts().map(|a| a.digest.clone()).collect(),
            is_in_use,
        }
    }
}

struct Sweep<'a> {
    cache: &'a Cache,
    mode: Mode,
    _alone: &'a Alone,
}

impl Sweep<'_> {
    fn objects(&self, needed: &Needed, done: &mut Collected) -> Result<(), CacheError> {
        for folder in list(&self.cache.dir().join("objects"))? {
            let start = name(&folder);
            // Do not follow a link.
            if !fs::symlink_metadata(&folder).is_ok_and(|m| m.is_dir()) {
                continue;
            }
            for object in list(&folder)? {
                let digest = start.clone() + &name(&object);
                let size = fs::symlink_metadata(&object).map_or(0, |m| m.len());
                if needed.objects.contains(&digest) {
                    done.kept_bytes += size;
                } else if is_digest(&digest) {
                    (done.files, done.bytes) = (done.files + 1, done.bytes + size);
                    self.remove(&object)?;
                }
            }
        }
        Ok(())
    }

    fn views(&self, needed: &Needed) -> Result<(), CacheError> {
        for view in list(&self.cache.dir().join("views"))? {
            let name = name(&view);
            let is_made_now = needed.is_in_use && !is_digest(&name);
            if !needed.views.contains(&name) && !is_made_now {
                self.remove(&view)?;
            }
        }
        Ok(())
    }

    /// Remove partial results that no process holds and no kept fingerprint would resume.
    fn partial(&self, keeps: Keeps<'_>) -> Result<(), CacheError> {
        for path in list(&self.cache.dir().join("partial"))? {
            let fingerprint = name(&path);
            if !is_digest(&fingerprint) || keeps(&fingerprint, last_touched(&path)) {
                continue;
            }
            // Hold the lock so that no process starts to work in the folder.
            if let Some(_lock) = self.cache.try_lock(&fingerprint)? {
                self.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Remove the logs of runs that have ended.
    fn logs(&self, keeps: Keeps<'_>, done: &mut Collected) -> Result<(), CacheError> {
        for id in self.cache.log_ids()? {
            let path = self.cache.log_path(&id);
            let metadata = fs::symlink_metadata(&path).ok();
            let touched = metadata.as_ref().and_then(|m| u64::try_from(m.mtime()).ok()).unwrap_or(0);
            if !is_written(&path) && !keeps(&id, touched) {
                done.logs += 1;
                done.bytes += metadata.map_or(0, |m| m.len());
                self.remove(&path)?;
            }
        }
        Ok(())
    }

    fn damaged(&self, done: &mut Collected) -> Result<(), CacheError> {
        let dir = self.cache.dir().join("damaged");
        for path in if dir.is_dir() { list(&dir)? } else { Vec::new() } {
            done.files += 1;
            done.bytes += fs::symlink_metadata(&path).map_or(0, |m| m.len());
            self.remove(&path)?;
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), CacheError> {
        match self.mode {
            Mode::Remove => self.cache.change("remove", Change::Remove(path)),
            Mode::DryRun => Ok(()),
        }
    }
}

/// The last modification inside a partial folder: writing a checkpoint does not change the folder's own mtime.
fn last_touched(dir: &Path) -> u64 {
    let files = walk(dir).unwrap_or_default().into_iter().map(|file| dir.join(file));
    let times = files.chain([dir.to_path_buf(), dir.join("work")]).filter_map(|p| fs::symlink_metadata(p).ok());
    times.filter_map(|m| u64::try_from(m.mtime()).ok()).max().unwrap_or(0)
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let read = || -> io::Result<Vec<PathBuf>> { fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect() };
    read().map_err(|e| CacheError::io("read the folder", dir, e))
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}
