//! Writes the events of a run to its log, which other processes can follow while it grows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::contract::event::{Event, Observer};
use crate::contract::run_id::RunId;
use crate::contract::wire;
use crate::store::cache::Cache;
use crate::store::error::CacheError;
use crate::store::log::Appender;

/// How many logs a cache keeps: months of daily work, and a folder that lists in a millisecond.
const KEPT: usize = 200;

/// The shortest time between two lines of progress of one stage. Readers see a moving bar, and a day of training stays
/// below 20 MB.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// From this size on, progress is written only twice a minute.
const LARGE: usize = 8 << 20;
const PROGRESS_EVERY_IF_LARGE: Duration = Duration::from_secs(30);

/// From this size on, only the states of stages are written: there is a bounded number of those.
const FULL: usize = 32 << 20;

/// Masks the secrets in a line.
pub type Mask = fn(&str) -> Cow<'_, str>;

/// An observer that appends each event to `runs/ID.jsonl` in the cache.
///
/// A run of nothing but hits writes nothing: the file is created at the first other event. If the file cannot be written,
/// one warning says so, and the run continues without it.
pub struct RunLog<'a> {
    cache: &'a Cache,
    id: &'a RunId,
    mask: Mask,
    /// Receives the warning.
    reporter: &'a dyn Observer,
    state: Mutex<State>,
}

enum State {
    /// Nothing worth a file has happened; these events come first in it.
    Waiting(Vec<(f64, Event)>),
    Open(Open),
    /// It cannot be written.
    Closed,
}

struct Open {
    to: Appender,
    written: usize,
    /// When progress of each stage was last written.
    progress: HashMap<String, Instant>,
    is_full: bool,
}

impl<'a> RunLog<'a> {
    pub fn new(cache: &'a Cache, id: &'a RunId, mask: Mask, reporter: &'a dyn Observer) -> Self {
        Self { cache, id, mask, reporter, state: Mutex::new(State::Waiting(Vec::new())) }
    }

    fn write(&self, event: &Event) -> Result<(), CacheError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.write_in(&mut state, event);
        if result.is_err() {
            *state = State::Closed;
        }
        result
    }

    fn write_in(&self, state: &mut State, event: &Event) -> Result<(), CacheError> {
        if let State::Waiting(earlier) = state {
            if is_idle(event) {
                earlier.push((wire::now(), event.clone()));
                return Ok(());
            }
            let earlier = std::mem::take(earlier);
            let to = self.cache.create_log(self.id.as_str())?;
            let mut open = Open { to, written: 0, progress: HashMap::new(), is_full: false };
            for (at, event) in earlier {
                self.append(&mut open, at, &event)?;
            }
            *state = State::Open(open);
            // If the folder cannot be listed, the next run trims it.
            let _ = self.cache.trim_logs(KEPT);
        }
        let State::Open(open) = state else { return Ok(()) };
        if open.takes(event, Instant::now()) { self.append(open, wire::now(), event) } else { Ok(()) }
    }

    fn append(&self, open: &mut Open, at: f64, event: &Event) -> Result<(), CacheError> {
        let mut lines = wire::line(self.id, at, event).unwrap_or_default();
        if open.written + lines.len() > FULL && !open.is_full {
            open.is_full = true;
            let text = "the log of this run is full: only the states of stages follow".into();
            lines += &wire::line(self.id, at, &Event::Warning { stage: None, text }).unwrap_or_default();
        }
        open.written += lines.len();
        open.to.append((self.mask)(&lines).as_bytes())
    }
}

impl Observer for RunLog<'_> {
    fn event(&self, event: &Event) {
        if let Err(e) = self.write(event) {
            let text = format!("cannot write the log of this run: {e}; the run continues without it");
            self.reporter.event(&Event::Warning { stage: None, text });
        }
    }
}

/// Whether a run with nothing to do emits such an event.
fn is_idle(event: &Event) -> bool {
    match event {
        Event::RunStarted { .. } | Event::StageHit { .. } | Event::RunFinished { .. } => true,
        Event::Warning { stage, .. } => stage.is_none(),
        _ => false,
    }
}

impl Open {
    /// Whether this event is written.
    fn takes(&mut self, event: &Event, now: Instant) -> bool {
        match event {
            Event::Progress { .. } | Event::Measured { .. } | Event::Note { .. } | Event::Warning { .. }
                if self.is_full =>
            {
                false
            }
            Event::Progress { stage, progress } => {
                let every = if self.written < LARGE { PROGRESS_EVERY } else { PROGRESS_EVERY_IF_LARGE };
                let is_last = progress.total > 0 && progress.done == progress.total;
                let is_due = self.progress.get(stage).is_none_or(|last| now - *last >= every);
                if is_due || is_last {
                    self.progress.insert(stage.clone(), now);
                }
                is_due || is_last
            }
            _ => true,
        }
    }
}
