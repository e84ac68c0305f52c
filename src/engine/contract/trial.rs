//! Trials: results of other stages, with other parameters, that a running stage asks for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::store::artifact::Artifact;
use crate::store::entry::{Entry, Sub};

/// A stage of the pipeline that a stage runs in trials. What the trials depend on becomes part of its own manifest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Template {
    /// The parameter that names it, for messages.
    pub key: &'static str,
    /// The stage or instance whose result each trial gives: `scores`, `scores[teacher]`.
    pub target: String,
    /// The stages whose parameters the trials set: the target or stages upstream of it.
    pub varied: Vec<String>,
    /// Values that trials may set. Each is tried on its own when the file is read, so that a parameter that does not exist
    /// or a value that its stage refuses is found before anything runs.
    pub samples: Vec<Sample>,
}

/// A value that trials may set, and where the file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The way to it from the stage's table: `over`, `teacher`, `learning-rate`.
    pub path: Vec<String>,
    pub set: Override,
}

/// What a template refers to, as the file has it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub template: &'a Template,
    /// `evaluate`.
    pub kind: &'a str,
    /// With defaults filled in.
    pub parameters: &'a serde_json::Value,
    /// The types of its inputs and outputs, by port.
    pub inputs: &'a [(&'static str, &'static str)],
    pub outputs: &'a [(&'static str, &'static str)],
}

/// What a stage of the pipeline would give if some parameters had other values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trial {
    /// Tells the trial's stages from those of the file: `trial=3` of `teacher[trial=3]`.
    pub label: String,
    /// The stage or instance whose result is wanted.
    pub target: String,
    pub overrides: Vec<Override>,
    /// Files with which stages begin their work, as if an interrupted attempt had left them: the result is the same
    /// without them, only later.
    pub begin_with: Vec<Beginning>,
}

/// Files with which a stage of a trial begins its work.
#[derive(Debug, Clone, PartialEq)]
pub struct Beginning {
    pub stage: String,
    pub files: Artifact,
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
    /// The artifact on each input port that has one; of several, the first.
    pub inputs: BTreeMap<&'static str, Artifact>,
    /// The results of the other stages that the trial varied, by the name of the stage: `teacher`.
    pub others: BTreeMap<String, Entry>,
}

/// How the trials so far ended, and which is next; None ends the series.
pub(crate) type Next<'a> = dyn FnMut(&[Tried]) -> Option<Trial> + 'a;

/// Runs trials for one running stage.
pub(crate) trait Trials: Sync {
    /// How each trial ended, and the results that the stage thereby refers to.
    fn run(&self, trials: &[Trial]) -> anyhow::Result<(Vec<Tried>, Vec<Sub>)>;

    /// The same for a series of which `parallel` run at a time.
    fn series(&self, parallel: usize, next: &mut Next) -> anyhow::Result<(Vec<Tried>, Vec<Sub>)>;

    /// The parameters of a stage of the pipeline, with defaults.
    fn parameters(&self, stage: &str) -> Option<serde_json::Value>;

    /// The folder of an artifact, with verified files.
    fn open(&self, artifact: &Artifact) -> anyhow::Result<PathBuf>;
}
