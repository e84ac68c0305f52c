//! All the engine ever says. Reporters turn events into text; the engine prints nothing.

use super::progress::Progress;
use serde::Serialize;

/// Receives events, from several threads.
pub trait Observer: Sync {
    fn event(&self, event: &Event);
}

/// Says nothing.
pub struct Quiet;

impl Observer for Quiet {
    fn event(&self, _: &Event) {}
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    RunStarted {
        pipeline: String,
        profile: Option<String>,
        stages: Vec<StageInfo>,
        jobs: usize,
    },
    /// A remote input is being fetched, before the first stage.
    Fetching {
        reference: String,
    },
    /// It is here; `identity` pins what it holds, such as a commit.
    Fetched {
        reference: String,
        identity: Option<String>,
    },
    /// The result was in the cache; `seconds` is what it took when it was made.
    StageHit {
        stage: String,
        fingerprint: String,
        seconds: f64,
    },
    StageStarted {
        stage: String,
        fingerprint: String,
        why: Vec<String>,
    },
    /// Another process is computing the same result.
    StageWaiting {
        stage: String,
        fingerprint: String,
    },
    Progress {
        stage: String,
        progress: Progress,
    },
    Note {
        stage: String,
        text: String,
    },
    Warning {
        stage: Option<String>,
        text: String,
    },
    /// `unchanged`: the outputs equal those of the last result, so what follows may stop early.
    StageDone {
        stage: String,
        fingerprint: String,
        seconds: f64,
        unchanged: bool,
        facts: Vec<(String, f64)>,
    },
    StageFailed {
        stage: String,
        error: String,
        seconds: f64,
    },
    /// Not run because of a stage before it.
    StageBlocked {
        stage: String,
        because: String,
    },
    /// Stopped by the user; what it had is kept for the next run.
    StageInterrupted {
        stage: String,
    },
    /// An input moved while the stage ran: the result is not kept.
    NotCached {
        stage: String,
        reason: String,
    },
    /// A file of the cache was damaged and set aside, or is gone; the stage that made it runs again.
    Damaged {
        stage: String,
        file: String,
        aside: Option<String>,
    },
    Exported {
        stage: String,
        path: String,
    },
    RunFinished {
        outcome: Outcome,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageInfo {
    pub name: String,
    pub kind: String,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    pub hits: usize,
    pub ran: usize,
    pub failed: usize,
    pub blocked: usize,
    pub interrupted: bool,
    pub seconds: f64,
}
