//! Events: everything the engine reports. Reporters turn events into text; the engine prints nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::measured::Measured;
use super::progress::Progress;
use super::run_id::RunId;

/// Receives events from several threads.
pub trait Observer: Sync {
    fn event(&self, event: &Event);
}

/// Ignores every event.
pub struct Quiet;

impl Observer for Quiet {
    fn event(&self, _: &Event) {}
}

/// Passes each event on to several observers, in this order.
pub struct Tee<'a>(pub &'a [&'a dyn Observer]);

impl Observer for Tee<'_> {
    fn event(&self, event: &Event) {
        self.0.iter().for_each(|observer| observer.event(event));
    }
}

/// `docs/events.md` documents every event and field: a change here changes that page, and may raise `wire::VERSION`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    RunStarted {
        id: RunId,
        pipeline: String,
        profile: Option<String>,
        /// How many stages run at a time.
        jobs: usize,
        /// In topological order.
        stages: Vec<StageInfo>,
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
    /// A running stage asked for trials; their stages are not among those of `RunStarted`.
    TrialsStarted {
        parent: String,
        stages: Vec<StageInfo>,
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
    /// An evaluation in the middle of a stage's work.
    Measured {
        stage: String,
        measured: Measured,
    },
    /// A line worth keeping. Nothing is wrong.
    Note {
        stage: String,
        text: String,
    },
    /// Something that may make the result other than expected; None if it concerns the whole run.
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
        facts: BTreeMap<String, f64>,
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

/// A stage of a run: a node of the graph, with its edges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StageInfo {
    pub name: String,
    pub kind: String,
    /// The stages whose results it takes, by port, in the order of the port's inputs.
    #[serde(default)]
    pub inputs: BTreeMap<String, Vec<String>>,
    /// The stage that runs this one as a part of its own work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
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
