//! The consequences of a change to one pipeline file, under every profile, compared with the cache.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::change::{Quiet, Touched};
use super::comparison::{Comparison, StageDiff, Status};
use super::pairing::stages;
use super::side::{Pair, Reading};
use crate::declare::instance::Instance;
use crate::declare::resolve::Pipeline;
use crate::judge::external::Lookup;
use crate::judge::job::Job;
use crate::judge::plan::Action;
use crate::judge::project::Project;
use crate::judge::verdict::Verdict;
use crate::store::error::CacheError;

/// The consequences of a change to one pipeline file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Review {
    pub pipeline: String,
    pub base: String,
    pub head: String,
    pub profile: Option<String>,
    pub stages: Vec<StageDiff>,
    pub no_effect: Vec<Quiet>,
    pub profiles: Vec<ProfileDiff>,
    pub invalidated: Vec<Affected>,
    /// Number of instances in the head, invalidated or not.
    pub instances: usize,
    /// Total of the last durations of the stages to run; null if none has a recorded duration.
    pub seconds: Option<f64>,
    /// The stages of the head, then the removed stages.
    #[serde(skip)]
    pub nodes: Vec<Node>,
}

/// Differences that exist only under another profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProfileDiff {
    pub profile: String,
    /// For an added or removed profile, `stages` and `no_effect` hold what the profile changes on its side.
    pub status: Status,
    pub stages: Vec<StageDiff>,
    pub no_effect: Vec<Quiet>,
}

/// An instance that the change invalidates.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Affected {
    pub instance: String,
    pub stage: String,
    pub kind: String,
    pub state: State,
    /// `comparison ← scores[teacher] ← teacher.learning-rate`.
    pub reason: String,
    /// The instances on that path.
    pub path: Vec<String>,
    /// Why the instance is blocked or unknown.
    pub note: Option<String>,
    /// How long it took to make the result, or the last one.
    pub seconds: Option<f64>,
}

/// What the cache holds for an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The result exists.
    Hit,
    Run,
    /// An input is missing, either its own or one of a stage upstream.
    Blocked,
    /// The state depends on data that was not downloaded or not looked up.
    Unknown,
}

/// A stage in the drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub stage: String,
    pub kind: String,
    pub inputs: Vec<String>,
    pub mark: Option<Mark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Added,
    Removed,
    Changed,
    /// Invalidated by something upstream.
    Invalid,
    /// Unchanged, and the cache holds all its results.
    Cached,
}

impl Pair {
    /// Compare the sides. The states of the invalidated instances stay `Unknown` until `judge`.
    pub fn review(&self, touched: &Touched, reading: Reading<'_>) -> Review {
        let (base, head) = (self.base.pipeline.as_ref(), self.head.pipeline.as_ref());
        let main = Comparison::of(base, head, touched);
        let instances = head.map_or(&[][..], |p| p.instances.as_slice());
        let invalidated: Vec<Affected> = main.invalid.iter().map(|i| Affected::new(i, instances)).collect();
        Review {
            pipeline: head.or(base).map_or_else(String::new, |p| p.name.clone()),
            base: self.base.place.clone(),
            head: self.head.place.clone(),
            profile: reading.profile.map(str::to_string),
            nodes: nodes(base, head, &main, &invalidated),
            profiles: self.profiles(&main, touched, reading),
            stages: main.stages,
            no_effect: main.quiet,
            invalidated,
            instances: instances.len(),
            seconds: None,
        }
    }

    fn profiles(&self, main: &Comparison, touched: &Touched, reading: Reading<'_>) -> Vec<ProfileDiff> {
        let (Some(base), Some(head)) = (&self.base.pipeline, &self.head.pipeline) else { return Vec::new() };
        let mut names: Vec<&String> = self.head.profiles.iter().chain(&self.base.profiles).collect();
        names.sort();
        names.dedup();
        let mut all = Vec::new();
        for name in names {
            let is_in = |profiles: &[String]| profiles.contains(name);
            let status = match (is_in(&self.base.profiles), is_in(&self.head.profiles)) {
                (true, true) => Status::Changed,
                (true, false) => Status::Removed,
                (false, _) => Status::Added,
            };
            let found = match (status, self.base.others.get(name), self.head.others.get(name)) {
                (Status::Changed, Some(old), Some(new)) => Comparison::of(Some(old), Some(new), touched).without(main),
                // Compare with the same side without the profile: these are the profile's own settings.
                (Status::Added, _, Some(new)) if reading.profile.is_none() => {
                    Comparison::of(Some(head), Some(new), &Touched::new())
                }
                (Status::Removed, Some(old), _) if reading.profile.is_none() => {
                    Comparison::of(Some(old), Some(base), &Touched::new())
                }
                _ => Comparison::default(),
            };
            if status != Status::Changed || !found.stages.is_empty() || !found.quiet.is_empty() {
                let (stages, no_effect) = (found.stages, found.quiet);
                all.push(ProfileDiff { profile: name.clone(), status, stages, no_effect });
            }
        }
        all
    }

    /// Fill in the cached states and the durations. `lookup` holds the head's files if they differ from the working
    /// tree.
    pub fn judge(&self, review: &mut Review, project: &Project, lookup: Lookup<'_>) -> Result<(), CacheError> {
        let Some(head) = &self.head.pipeline else { return Ok(()) };
        let wanted: Vec<String> = review.invalidated.iter().map(|a| a.instance.clone()).collect();
        // The names come from this pipeline, so `prepare` cannot reject them.
        let Ok(prepared) = project.prepare(head, &wanted, &[], lookup.origins) else { return Ok(()) };
        let prepared = prepared.at(lookup);
        let job = prepared.job();
        let verdicts = job.verdicts()?;
        let states = states(&job, &verdicts);
        let mut affected = review.invalidated.iter_mut().peekable();
        for (at, verdict) in verdicts.iter().enumerate() {
            let Some(verdict) = verdict else { continue };
            let Some(affected) = affected.next_if(|a| a.instance == head.instances[at].name) else { continue };
            affected.state = states[at];
            affected.note =
                verdict.why.first().filter(|_| matches!(states[at], State::Blocked | State::Unknown)).cloned();
            affected.seconds = match &verdict.entry {
                Some(entry) => Some(entry.made.seconds),
                None => job.latest(at).and_then(|l| l.seconds),
            };
        }
        let to_run = review.invalidated.iter().filter(|a| a.state == State::Run);
        let timed: Vec<f64> = to_run.filter_map(|a| a.seconds).collect();
        review.seconds = (!timed.is_empty()).then(|| timed.iter().sum());
        for node in review.nodes.iter_mut().filter(|n| n.mark == Some(Mark::Invalid)) {
            if review.invalidated.iter().filter(|a| a.stage == node.stage).all(|a| a.state == State::Hit) {
                node.mark = Some(Mark::Cached);
            }
        }
        Ok(())
    }
}

impl Review {
    /// Whether there are no differences at all.
    pub fn is_empty(&self) -> bool {
        let Self { stages, no_effect, profiles, invalidated, .. } = self;
        stages.is_empty() && no_effect.is_empty() && profiles.is_empty() && invalidated.is_empty()
    }

    pub fn count(&self, state: State) -> usize {
        self.invalidated.iter().filter(|a| a.state == state).count()
    }
}

/// States by instance. An instance that waits for a download is unknown, unless it runs anyway.
fn states(job: &Job<'_>, verdicts: &[Option<Verdict>]) -> Vec<State> {
    let mut all: Vec<State> = Vec::with_capacity(verdicts.len());
    for (at, verdict) in verdicts.iter().enumerate() {
        let above = |state: State| job.instance(at).inputs.iter().any(|w| all[w.from] == state);
        let is_distant = || job.externals.found[at].iter().any(|f| f.distant().is_some());
        all.push(match verdict.as_ref().map(|v| v.action) {
            Some(Action::Hit) => State::Hit,
            Some(Action::Blocked) => State::Blocked,
            Some(Action::MayStop) if !above(State::Run) && (above(State::Unknown) || is_distant()) => State::Unknown,
            Some(Action::Run | Action::MayStop) => State::Run,
            None => State::Unknown,
        });
    }
    all
}

/// The stages of both sides, marked with their changes.
fn nodes(base: Option<&Pipeline>, head: Option<&Pipeline>, main: &Comparison, invalidated: &[Affected]) -> Vec<Node> {
    let diffs: BTreeMap<&str, &StageDiff> = main.stages.iter().map(|d| (d.stage.as_str(), d)).collect();
    let node = |instances: &[Instance], range: std::ops::Range<usize>, mark: Option<Mark>| {
        let first = &instances[range.start];
        let mut inputs: Vec<String> = Vec::new();
        for wire in instances[range.clone()].iter().flat_map(|i| &i.inputs) {
            let stage = &instances[wire.from].stage;
            if !inputs.contains(stage) {
                inputs.push(stage.clone());
            }
        }
        Node { stage: first.stage.clone(), kind: first.kind.name.into(), inputs, mark }
    };
    let invalid: BTreeSet<&str> = invalidated.iter().map(|a| a.stage.as_str()).collect();
    let mut all = Vec::new();
    for (name, range) in head.map_or_else(Vec::new, |p| stages(&p.instances)) {
        let mark = match diffs.get(name).map(|d| d.status) {
            Some(Status::Added) => Some(Mark::Added),
            Some(Status::Changed | Status::Renamed) => Some(Mark::Changed),
            _ => invalid.contains(name).then_some(Mark::Invalid),
        };
        all.extend(head.map(|p| node(&p.instances, range, mark)));
    }
    for (name, range) in base.map_or_else(Vec::new, |p| stages(&p.instances)) {
        if diffs.get(name).is_some_and(|d| d.status == Status::Removed) {
            all.extend(base.map(|p| node(&p.instances, range, Some(Mark::Removed))));
        }
    }
    all
}

impl Affected {
    fn new(invalid: &super::closure::Invalid, head: &[Instance]) -> Self {
        let instance = &head[invalid.at];
        Self {
            instance: instance.name.clone(),
            stage: instance.stage.clone(),
            kind: instance.kind.name.into(),
            state: State::Unknown,
            reason: invalid.reason(head),
            path: invalid.path.iter().map(|&at| head[at].name.clone()).collect(),
            note: None,
            seconds: None,
        }
    }
}
