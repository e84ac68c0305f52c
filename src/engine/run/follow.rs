//! Reads the logs of runs, also while they grow.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use crate::contract::event::Event;
use crate::contract::run_id::RunId;
use crate::contract::wire::Record;
use crate::store::cache::Cache;
use crate::store::error::CacheError;
use crate::store::log::is_written;

/// How often a follower looks for more: an event is seen at once by human measure.
const POLL: Duration = Duration::from_millis(100);

/// The runs that have a log, newest first. A run of nothing but hits has none.
pub fn runs(cache: &Cache) -> Result<Vec<RunId>, CacheError> {
    Ok(cache.log_ids()?.iter().rev().filter_map(|id| RunId::parse(id)).collect())
}

/// Open the log of a run from its beginning.
pub fn follow(cache: &Cache, id: &RunId) -> Result<Follow, CacheError> {
    let path = cache.log_path(id.as_str());
    let file = File::open(&path).map_err(|e| CacheError::io("open", &path, e))?;
    Ok(Follow { path, file, unfinished: Vec::new(), is_over: false, found: Vec::new().into_iter() })
}

/// A reader of a log. As an iterator it waits for further events until the run ends or its process dies.
pub struct Follow {
    path: PathBuf,
    file: File,
    /// The bytes after the last newline: a line that is being written, or was torn when the writer died.
    unfinished: Vec<u8>,
    is_over: bool,
    /// What the iterator has read and not returned yet.
    found: std::vec::IntoIter<Record>,
}

impl Follow {
    /// The events since the last call, without waiting. Lines that cannot be read are skipped.
    pub fn read(&mut self) -> Result<Vec<Record>, CacheError> {
        // Ask before reading: what a dying writer wrote last is then read below.
        let may_grow = is_written(&self.path);
        self.file.read_to_end(&mut self.unfinished).map_err(|e| CacheError::io("read", &self.path, e))?;
        let whole = self.unfinished.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let rest = self.unfinished.split_off(whole);
        let lines = std::mem::replace(&mut self.unfinished, rest);
        let records: Vec<Record> = lines.split(|byte| *byte == b'\n').filter_map(Record::parse).collect();
        let has_ended = records.iter().any(|r| matches!(r.event, Event::RunFinished { .. }));
        self.is_over |= has_ended || !may_grow;
        Ok(records)
    }

    /// Whether nothing will follow: the run has ended, or its process is dead.
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Iterator for Follow {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(record) = self.found.next() {
                return Some(record);
            }
            if self.is_over {
                return None;
            }
            // A log that cannot be read any more has no further events.
            self.found = self.read().ok()?.into_iter();
            if self.found.len() == 0 && !self.is_over {
                std::thread::sleep(POLL);
            }
        }
    }
}
