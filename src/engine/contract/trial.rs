//! Trials: results of other stages, with other parameters, that a running stage asks for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::store::entry::{Entry, Sub};

/// A stage of the pipeline that a stage runs in trials. What the trials depend on becomes part of its own manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The parameter that names it, for messages.
    pub key: &'static str,
    /// The stage or instance whose result each trial gives: `scores`, `scores[teacher]`.
    pub target: String,
    /// The stages whose parameters the trials set: the target or stages upstream of it.
    pub varied: Vec<String>,
}

/// What a stage of the pipeline would give if some parameters had other values.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Tells the trial's stages from those of the file: `trial=3` of `teacher[trial=3]`.
    pub label: String,
    /// The stage or instance whose result is wanted.
    pub target: String,
    pub overrides: Vec<Override>,
}

/// One parameter with another value.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    pub stage: String,
    /// As in the pipeline file.
    pub key: String,
    pub value: serde_json::Value,
}

/// How a trial ended.
#[derive(Debug, Clone)]
pub enum Tried {
    Done(Box<Found>),
    /// A stage of the trial failed, or the values are not valid.
    Failed {
        /// `teacher[trial=3]`.
        stage: String,
        error: String,
    },
}

/// The result of a trial.
#[derive(Debug, Clone)]
pub struct Found {
    /// `scores[trial=3]`.
    pub stage: String,
    pub fingerprint: String,
    pub entry: Entry,
    /// The folder of each output, with verified files.
    pub outputs: BTreeMap<String, PathBuf>,
}

/// Runs trials for one running stage.
pub(crate) trait Trials: Sync {
    /// How each trial ended, and the results that the stage thereby refers to.
    fn run(&self, trials: &[Trial]) -> anyhow::Result<(Vec<Tried>, Vec<Sub>)>;
}
