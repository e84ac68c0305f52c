//! What the cache has for a pipeline, as far as that can be told without fetching anything or failing for a missing file.

use serde::Serialize;

use super::cache::{CacheError, Entry};
use super::external::{Absent, Found, Revision, look};
use super::graph::Graph;
use super::kind::Remote;
use super::plan::{Job, Upstream};
use super::project::Project;
use super::resolve::Pipeline;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The result is in the cache.
    Hit,
    Run,
    /// A file that it needs, or that something above it needs, is missing.
    Blocked,
    /// What it depends on has not been fetched yet.
    Unknown,
}

/// What is known of one instance.
#[derive(Debug, Clone)]
pub struct Forecast {
    pub state: State,
    /// Why it is blocked or unknown.
    pub note: Option<String>,
    /// The result of a hit.
    pub entry: Option<Entry>,
    /// What it took to make, or took the last time.
    pub seconds: Option<f64>,
}

/// What is looked at beside the pipeline.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub remotes: &'a [Remote],
    /// Files that are not as the working tree has them.
    pub revision: &'a Revision,
    /// By instance; with an instance everything above it.
    pub needed: &'a [bool],
}

impl Project {
    /// By instance; none where it is not needed.
    pub fn forecast(&self, pipeline: &Pipeline, around: Around<'_>) -> Result<Vec<Option<Forecast>>, CacheError> {
        let graph = Graph::of(&pipeline.instances);
        let looked = |at: usize| match around.needed[at] {
            true => look(&pipeline.instances[at], &self.root, around.remotes, around.revision),
            false => Ok(Vec::new()),
        };
        let inputs: Vec<Result<Vec<Found>, Absent>> = (0..pipeline.instances.len()).map(looked).collect();
        let externals: Vec<Vec<Found>> = inputs.iter().map(|i| i.clone().unwrap_or_default()).collect();
        let job = Job {
            pipeline,
            graph: &graph,
            cache: &self.cache,
            stats: &self.stats,
            externals: &externals,
            history: self.history.as_ref(),
            root: &self.root,
            needed: around.needed,
            forced: &vec![false; pipeline.instances.len()],
        };
        let mut all: Vec<Option<Forecast>> = Vec::with_capacity(inputs.len());
        for (at, input) in inputs.iter().enumerate() {
            let told = around.needed[at].then(|| forecast(&job, at, input.as_ref().err(), &all)).transpose()?;
            all.push(told);
        }
        Ok(all)
    }
}

fn forecast(
    job: &Job<'_>,
    at: usize,
    absent: Option<&Absent>,
    above: &[Option<Forecast>],
) -> Result<Forecast, CacheError> {
    let instance = job.instance(at);
    let seconds = || job.history.and_then(|h| h.seconds(&job.pipeline.name, &instance.name));
    let of = |state, note| Forecast { state, note, entry: None, seconds: seconds() };
    let worst = |state: State| {
        let source = |from: usize| above[from].as_ref().is_some_and(|f| f.state == state);
        instance.inputs.iter().find(|w| source(w.from)).map(|w| job.instance(w.from).name.clone())
    };
    if let Some(Absent::Missing(path)) = absent {
        return Ok(of(State::Blocked, Some(format!("{path} is missing"))));
    }
    if let Some(name) = worst(State::Blocked) {
        return Ok(of(State::Blocked, Some(format!("{name} is blocked"))));
    }
    if let Some(Absent::Remote(reference)) = absent {
        return Ok(of(State::Unknown, Some(format!("{reference} is not on this machine"))));
    }
    if let Some(name) = worst(State::Unknown) {
        return Ok(of(State::Unknown, Some(format!("{name} is not known"))));
    }
    let known = |from: usize| above[from].as_ref().and_then(|f| f.entry.as_ref());
    let verdict = job.judge(at, &|from| known(from).map_or(Upstream::Pending, Upstream::Known))?;
    Ok(match verdict.entry {
        Some(entry) => {
            Forecast { state: State::Hit, note: None, seconds: Some(entry.made.seconds), entry: Some(entry) }
        }
        None => of(State::Run, None),
    })
}
