//! Where an instance of a run is, and what all of them together amount to.

use std::time::{Duration, Instant};

use crate::contract::event::Outcome;
use crate::store::entry::Entry;
use crate::store::manifest::Manifest;

/// Where an instance is. `Schedule::set` is the only way from one to the next.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// Not wanted in this run.
    Unneeded,
    Waiting,
    /// Judged: it has to run, and waits for a slot.
    Queued {
        manifest: Manifest,
        fingerprint: String,
        why: Vec<String>,
    },
    Running {
        fingerprint: String,
        since: Instant,
    },
    Hit {
        entry: Box<Entry>,
        fingerprint: String,
    },
    Done {
        entry: Box<Entry>,
        fingerprint: String,
        unchanged: bool,
        seconds: f64,
    },
    Failed {
        error: String,
        seconds: f64,
    },
    Blocked {
        because: String,
    },
    Interrupted,
}

impl State {
    pub(crate) fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Hit { entry, .. } | Self::Done { entry, .. } => Some(entry),
            _ => None,
        }
    }

    /// The result that is on its way.
    pub(crate) fn making(&self) -> Option<&str> {
        match self {
            Self::Queued { fingerprint, .. } | Self::Running { fingerprint, .. } => Some(fingerprint),
            _ => None,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        !matches!(self, Self::Waiting | Self::Queued { .. } | Self::Running { .. })
    }
}

/// How a run ended, from how its instances did.
pub(crate) fn outcome(states: &[State], was_stopped: bool, took: Duration) -> Outcome {
    let mut outcome = Outcome { seconds: took.as_secs_f64(), ..Outcome::default() };
    for state in states {
        match state {
            State::Hit { .. } => outcome.hits += 1,
            State::Done { .. } => outcome.ran += 1,
            State::Failed { .. } => outcome.failed += 1,
            State::Interrupted => outcome.interrupted = true,
            State::Blocked { .. } => outcome.blocked += 1,
            State::Waiting | State::Queued { .. } | State::Running { .. } if was_stopped => outcome.interrupted = true,
            State::Waiting | State::Queued { .. } | State::Running { .. } => outcome.blocked += 1,
            State::Unneeded => {}
        }
    }
    outcome
}
