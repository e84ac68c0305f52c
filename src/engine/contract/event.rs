//! Events: everything the engine reports. Reporters turn events into text; the engine prints nothing.

use super::progress::Progress;
use serde::{Deserialize, Serialize};

/// Receives events from several threads.
pub trait Observer: Sync {
    fn event(&self, event: &Event);
}

/// Ignores every event.
pub struct Quiet;

impl Observer for Quiet {
    fn event(&self, _: &Event) {}
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    RunStarted {
        pipeline: String,
        profile: Option<String>,
        stages: Vec<StageInfo>,
        jobs: usize,
    },
    /// A remote input is being downloaded, before the first stage runs.
    Fetching {
        reference: String,
    },
    /// The download is complete; `identity` pins its content, such as a commit.
    Fetched {
        reference: String,
        identity: Option<String>,
    },
    /// The cache has the result; `seconds` is the time it took to make.
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
    /// `unchanged`: the outputs equal those of the last result, so downstream stages may be hits.
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
    /// Not run because an upstream stage has no result.
    StageBlocked {
        stage: String,
        because: String,
    },
    /// The user stopped the stage; its checkpoints are kept for the next run.
    StageInterrupted {
        stage: String,
    },
    /// An input changed while the stage ran, so the result was discarded.
    NotCached {
        stage: String,
        reason: String,
    },
    /// A file of the cache is damaged (and was moved away) or missing; the stage that made it runs again.
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageInfo {
    pub name: String,
    pub kind: String,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    pub hits: usize,
    pub ran: usize,
    pub failed: usize,
    pub blocked: usize,
    pub interrupted: bool,
    pub seconds: f64,
}
