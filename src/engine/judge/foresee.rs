//! How many trials a stage would run, and which of their results the cache has: the stage's own rule, asked without running
//! anything.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::external::{Externals, Lookup, Revision};
use super::job::Job;
use super::plan::{Action, Foreseen};
use super::trial::around;
use crate::contract::context::Context;
use crate::contract::event::{Event, Observer};
use crate::contract::trial::{Found, Next, Trial, Trials, Tried};
use crate::declare::graph::Graph;
use crate::declare::variant::Variant;
use crate::store::artifact::Artifact;
use crate::store::entry::{Curve, Sub};

impl Job<'_> {
    /// The trials that an instance would run; None if its kind runs none or cannot tell.
    pub(crate) fn foresee(&self, at: usize) -> Option<Foreseen> {
        let instance = self.instance(at);
        if !instance.kind.runs_trials {
            return None;
        }
        let looking = Looking { job: self, known: AtomicUsize::new(0) };
        let stop = AtomicBool::new(false);
        let mut cx = Context {
            stage: &instance.name,
            seed: instance.seed,
            device: "cpu",
            root: self.root,
            inputs: BTreeMap::new(),
            externals: BTreeMap::new(),
            partial: self.cache.partial("none"),
            outputs: &instance.ports.outputs,
            stop: &stop,
            observer: &Unheard,
            facts: BTreeMap::new(),
            curve: Curve::default(),
            notes: Vec::new(),
            device_used: None,
            seconds: 0.0,
            trials: Some(&looking),
            subs: Vec::new(),
        };
        let total = instance.work.foresee(&mut cx)?;
        let members = instance.inherited.iter().flat_map(|inherited| &inherited.members);
        let times: Option<Vec<f64>> = members.map(|&member| self.seconds(member)).collect();
        let seconds = times.filter(|times| !times.is_empty()).map(|times| times.iter().sum());
        Some(Foreseen { total, known: looking.known.load(Ordering::Relaxed).min(total), seconds })
    }

    /// The result of a trial, if the cache has it.
    fn look(&self, trial: &Trial) -> Option<Found> {
        let Variant { instances, target, .. } = self.pipeline.variant(&trial.target, &trial.overrides).ok()?;
        let pipeline = self.pipeline.of_trials(instances);
        let graph = Graph::of(&pipeline.instances);
        let (needed, forced) = (graph.closure(&[target]), vec![false; pipeline.instances.len()]);
        let lookup = Lookup { root: self.root, origins: self.origins, revision: &Revision::new() };
        let externals = Externals::find(&pipeline, &needed, lookup);
        let (pipeline, graph, externals) = (&pipeline, &graph, &externals);
        let inner = Job { pipeline, graph, externals, needed: &needed, forced: &forced, ..*self };
        let verdicts = inner.verdicts().ok()?;
        let entry_of = |at: usize| {
            let verdict = verdicts[at].as_ref()?;
            verdict.entry.as_ref().filter(|_| verdict.action == Action::Hit && verdict.fetch.is_none())
        };
        let entry = entry_of(target)?.clone();
        let outputs = entry.outputs.iter().map(|(port, a)| Some((port.clone(), self.cache.view(a).ok()?)));
        let (inputs, others) = around((target, 0..pipeline.instances.len()), &pipeline.instances, &entry_of);
        let fingerprint = verdicts[target].as_ref()?.fingerprint.clone()?;
        let stage = format!("{}[{}]", pipeline.instances[target].stage, trial.label);
        Some(Found { stage, fingerprint, outputs: outputs.collect::<Option<_>>()?, entry, inputs, others })
    }
}

/// Gives the results of trials that the cache has.
struct Looking<'a> {
    job: &'a Job<'a>,
    known: AtomicUsize,
}

impl Looking<'_> {
    fn tried(&self, trial: &Trial) -> Option<Tried> {
        let found = self.job.look(trial)?;
        self.known.fetch_add(1, Ordering::Relaxed);
        Some(Tried::Done(Box::new(found)))
    }
}

impl Trials for Looking<'_> {
    fn run(&self, trials: &[Trial]) -> anyhow::Result<(Vec<Tried>, Vec<Sub>)> {
        let all: Vec<Option<Tried>> = trials.iter().map(|trial| self.tried(trial)).collect();
        match all.into_iter().collect::<Option<Vec<Tried>>>() {
            Some(tried) => Ok((tried, Vec::new())),
            None => anyhow::bail!("a trial has no result yet"),
        }
    }

    fn series(&self, parallel: usize, next: &mut Next) -> anyhow::Result<(Vec<Tried>, Vec<Sub>)> {
        let mut known: Vec<Tried> = Vec::new();
        let mut lacking = 0;
        // A trial that the cache lacks does not keep the next ones from being known that do not depend on it.
        for k in 0.. {
            let Some(seen) = known.get(..(k + 1usize).saturating_sub(parallel)) else { break };
            let Some(trial) = next(seen) else { break };
            match self.tried(&trial) {
                Some(tried) if lacking == 0 => known.push(tried),
                Some(_) => {}
                None => lacking += 1,
            }
        }
        anyhow::ensure!(lacking == 0, "a trial has no result yet");
        Ok((known, Vec::new()))
    }

    fn parameters(&self, stage: &str) -> Option<serde_json::Value> {
        self.job.pipeline.instances.iter().find(|i| i.stage == stage).map(|i| i.parameters.clone())
    }

    fn open(&self, artifact: &Artifact) -> anyhow::Result<PathBuf> {
        Ok(self.job.cache.view(artifact)?)
    }
}

struct Unheard;

impl Observer for Unheard {
    fn event(&self, _: &Event) {}
}
