//! The state of an instance in a run, and the outcome of all states together.

use std::time::{Duration, Instant};

use crate::contract::event::Outcome;
use crate::store::entry::Entry;
use crate::store::manifest::Manifest;

/// The state of an instance. Only `Schedule::set` changes it.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// Not needed in this run.
    Unneeded,
    Waiting,
    /// It has to run and waits for a slot.
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

    /// The fingerprint of the result that is being made.
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

/// The outcome of a run, from the states of its instances.
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
