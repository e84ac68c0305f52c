//! Runs the trials of a stage: one schedule for all that it asks for at a time, with the slots of the whole run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;

use super::recorder::Recorder;
use super::schedule::{Around, Beginnings, RunOptions, Schedule, info};
use super::slots::Key;
use super::state::State;
use crate::contract::context::{Interrupted, relative_to_root};
use crate::contract::event::{Event, Observer, StageInfo};
use crate::contract::trial::{Found, Next, Trial, Trials, Tried};
use crate::declare::graph::Graph;
use crate::declare::instance::Instance;
use crate::declare::variant::{NoVariant, Variant};
use crate::judge::external::{Externals, Lookup, Revision};
use crate::judge::history::History;
use crate::judge::job::Job;
use crate::judge::trial::around;
use crate::store::artifact::Artifact;
use crate::store::entry::Sub;
use crate::store::partial::Partial;

/// The trials of one running stage.
pub(crate) struct SubRuns<'a> {
    around: Around<'a>,
    /// What the stage occupies.
    key: Key,
    partial: Partial,
    /// The run that the trials are recorded with.
    record: Option<(&'a History, i64)>,
}

impl Trials for SubRuns<'_> {
    fn run(&self, trials: &[Trial]) -> anyhow::Result<(Vec<Tried>, Vec<Sub>)> {
        let stopped = || self.around.stop.load(Ordering::Relaxed);
        if stopped() {
            return Err(Interrupted.into());
        }
        let whole = self.gather(trials)?;
        let tried = self.around.pool.lend(self.key, &stopped, || self.run_all(whole));
        if stopped() { Err(Interrupted.into()) } else { tried }
    }

    fn series(&self, parallel: usize, next: &mut Next) -> anyhow::Result<(Vec<Tried>, Vec<Sub>)> {
        let stopped = || self.around.stop.load(Ordering::Relaxed);
        let tried = self.around.pool.lend(self.key, &stopped, || self.run_series(parallel.max(1), next, &stopped));
        if stopped() { Err(Interrupted.into()) } else { tried }
    }

    fn parameters(&self, stage: &str) -> Option<serde_json::Value> {
        let instances = &self.around.job.pipeline.instances;
        instances.iter().find(|i| i.stage == stage).map(|i| i.parameters.clone())
    }

    fn open(&self, artifact: &Artifact) -> anyhow::Result<PathBuf> {
        Ok(self.around.job.cache.view(artifact)?)
    }
}

/// The instances of all trials; those that no trial changes are there once.
#[derive(Default)]
struct Whole {
    instances: Vec<Instance>,
    /// Instances of the file that trials use as they are, by name.
    shared: HashMap<String, usize>,
    /// The target of each trial, or why it cannot run.
    trials: Vec<Result<usize, Tried>>,
    /// The trial of each instance that a trial changed.
    of_trial: HashMap<usize, usize>,
    beginnings: Beginnings,
}

impl Whole {
    fn add(&mut self, variant: Variant, label: &str) {
        let Variant { instances, target, affected } = variant;
        let mut to_whole: Vec<usize> = Vec::with_capacity(instances.len());
        for (at, mut instance) in instances.into_iter().enumerate() {
            let is_affected = affected.binary_search(&at).is_ok();
            if let (false, Some(&known)) = (is_affected, self.shared.get(&instance.name)) {
                to_whole.push(known);
                continue;
            }
            if is_affected {
                self.of_trial.insert(self.instances.len(), self.trials.len());
                instance.name = named(&instance.name, label);
            } else {
                self.shared.insert(instance.name.clone(), self.instances.len());
            }
            instance.inputs.iter_mut().for_each(|wire| wire.from = to_whole[wire.from]);
            to_whole.push(self.instances.len());
            self.instances.push(instance);
        }
        self.trials.push(Ok(to_whole[target]));
    }

    fn is_shared(&self, at: usize) -> bool {
        self.shared.get(&self.instances[at].name) == Some(&at)
    }
}

/// `teacher[trial=3]`, `scores[teacher, trial=3]`.
fn named(instance: &str, label: &str) -> String {
    match instance.strip_suffix(']') {
        Some(start) => format!("{start}, {label}]"),
        None => format!("{instance}[{label}]"),
    }
}

impl<'a> SubRuns<'a> {
    pub(super) fn new(around: Around<'a>, key: Key, fingerprint: String, record: Option<(&'a History, i64)>) -> Self {
        let partial = around.job.cache.partial(&fingerprint);
        Self { around, key, partial, record }
    }

    /// The instances of the trials, declared as if the file had their values.
    fn gather(&self, trials: &[Trial]) -> anyhow::Result<Whole> {
        let pipeline = self.around.job.pipeline;
        let parent = &self.around.job.instance(self.key.at).name;
        let mut whole = Whole::default();
        let mut labels = HashSet::new();
        for trial in trials {
            anyhow::ensure!(labels.insert(&trial.label), "two trials have the label `{}`", trial.label);
            match pipeline.variant(&trial.target, &trial.overrides) {
                Ok(variant) => {
                    let before = whole.instances.len();
                    whole.add(variant, &trial.label);
                    for instance in &whole.instances[before..] {
                        if let Some(begin) = trial.begin_with.iter().find(|begin| begin.stage == instance.stage) {
                            let folder = self.around.job.cache.view(&begin.files)?;
                            whole.beginnings.insert(instance.name.clone(), folder);
                        }
                    }
                }
                Err(NoVariant::Unknown(why)) => anyhow::bail!("stage `{parent}` cannot run this trial: {why}"),
                Err(NoVariant::Invalid(problems)) => {
                    let all: Vec<String> = problems.0.into_iter().map(|d| d.message).collect();
                    let (stage, error) = (named(&trial.target, &trial.label), all.join("; "));
                    let event = Event::StageFailed { stage: stage.clone(), error: error.clone(), seconds: 0.0 };
                    self.around.observer.event(&event);
                    whole.trials.push(Err(Tried::Failed { stage, error }));
                }
            }
        }
        Ok(whole)
    }

    /// Run a trial as soon as those are over from which `next` gives it and fewer than `parallel` are running.
    fn run_series(
        &self,
        parallel: usize,
        next: &mut Next,
        stopped: &dyn Fn() -> bool,
    ) -> anyhow::Result<(Vec<Tried>, Vec<Sub>)> {
        let (send, receive) = mpsc::channel::<(usize, anyhow::Result<(Vec<Tried>, Vec<Sub>)>)>();
        let mut ended: Vec<Option<Tried>> = Vec::new();
        let (mut over, mut subs, mut is_last, mut running) = (Vec::new(), BTreeMap::new(), false, 0);
        let mut error = None;
        thread::scope(|scope| {
            loop {
                // Trial k may know those up to k - parallel: so at most `parallel` run at a time.
                while !is_last && error.is_none() && !stopped() && ended.len() < over.len() + parallel {
                    let k = ended.len();
                    let Some(trial) = next(&over[..(k + 1).saturating_sub(parallel)]) else {
                        is_last = true;
                        break;
                    };
                    ended.push(None);
                    running += 1;
                    let send = send.clone();
                    scope.spawn(move || {
                        let ran = self.gather(std::slice::from_ref(&trial)).and_then(|whole| self.run_all(whole));
                        let _ = send.send((k, ran));
                    });
                }
                if running == 0 {
                    break;
                }
                let Ok((k, ran)) = receive.recv() else { break };
                running -= 1;
                match ran {
                    Ok((mut tried, of_trial)) => {
                        ended[k] = tried.pop();
                        subs.insert(k, of_trial);
                    }
                    Err(failed) => error = Some(failed),
                }
                over.extend(ended[over.len()..].iter().map_while(Option::clone).collect::<Vec<_>>());
            }
        });
        match error {
            Some(error) => Err(error),
            // In the order of the trials, whichever ended first.
            None => Ok((over, subs.into_values().flatten().collect())),
        }
    }

    fn run_all(&self, mut whole: Whole) -> anyhow::Result<(Vec<Tried>, Vec<Sub>)> {
        let Around { job, options, observer, lease, .. } = self.around;
        let pipeline = job.pipeline.of_trials(std::mem::take(&mut whole.instances));
        let count = pipeline.instances.len();
        let graph = Graph::of(&pipeline.instances);
        let targets: Vec<usize> = whole.trials.iter().flatten().copied().collect();
        let (needed, forced) = (graph.closure(&targets), vec![false; count]);
        let lookup = Lookup { root: job.root, origins: job.origins, revision: &Revision::new() };
        let mut externals = Externals::find(&pipeline, &needed, lookup);
        externals.fetch(&pipeline, job.origins, observer);
        let inner = Job {
            pipeline: &pipeline,
            graph: &graph,
            externals: &externals,
            needed: &needed,
            forced: &forced,
            cache: job.cache,
            stats: job.stats,
            archive: job.archive,
            history: job.history,
            latest: job.latest,
            root: job.root,
            origins: job.origins,
        };
        whole.instances = pipeline.instances.clone();
        let parent = job.instance(self.key.at).name.clone();
        let own = (0..count).filter(|&at| needed[at] && !whole.is_shared(at));
        let stages = own.map(|at| StageInfo { parent: Some(parent.clone()), ..info(&inner, at) }).collect();
        observer.event(&Event::TrialsStarted { parent, stages });

        let shared_names: HashSet<&str> = whole.shared.keys().map(String::as_str).collect();
        let watched = OfTrials { observer, shared: shared_names, partial: &self.partial };
        let options = RunOptions { keep_going: true, plan: None, ..*options };
        let archived = self.around.archived.of_trials(&inner, &watched);
        let beginnings = std::mem::take(&mut whole.beginnings);
        let around = Around {
            job: &inner,
            options: &options,
            observer: &watched,
            archived: &archived,
            trials: Some(&beginnings),
            ..self.around
        };
        let mut schedule = Schedule::new(around, Recorder::join(&inner, observer, self.record));
        let shared = schedule.drive()?;
        // The results stay until the stage's own entry refers to them.
        lease.keep(&std::mem::take(&mut schedule.hits), &shared)?;
        drop(shared);
        let states = std::mem::take(&mut schedule.states);
        schedule.recorder.hits(&states, &|at| !whole.is_shared(at));
        self.results(&whole, &states)
    }

    /// How each trial ended, and the results that they gave.
    fn results(&self, whole: &Whole, states: &[State]) -> anyhow::Result<(Vec<Tried>, Vec<Sub>)> {
        let job = self.around.job;
        let mut all = Vec::with_capacity(whole.trials.len());
        for trial in &whole.trials {
            let at = match trial {
                Ok(at) => *at,
                Err(failed) => {
                    all.push(failed.clone());
                    continue;
                }
            };
            let stage = whole.instances[at].name.clone();
            all.push(match &states[at] {
                State::Hit { entry, fingerprint } | State::Done { entry, fingerprint, .. } => {
                    let outputs: Result<BTreeMap<_, _>, _> =
                        entry.outputs.iter().map(|(port, a)| Ok((port.clone(), job.cache.view(a)?))).collect();
                    match outputs {
                        Ok(outputs) => {
                            let (fingerprint, entry) = (fingerprint.clone(), entry.as_ref().clone());
                            let trial = whole.of_trial.get(&at);
                            let others = (0..states.len()).filter(|other| whole.of_trial.get(other) == trial);
                            let (inputs, others) = around((at, others), &whole.instances, &|at| states[at].entry());
                            Tried::Done(Box::new(Found { stage, fingerprint, entry, outputs, inputs, others }))
                        }
                        Err::<_, crate::store::error::CacheError>(e) => {
                            Tried::Failed { stage, error: relative_to_root(job.root, &e.to_string()) }
                        }
                    }
                }
                state => failed(stage, state, whole, states),
            });
        }
        let made = states.iter().enumerate().filter(|(at, _)| !whole.is_shared(*at));
        let subs = made.filter_map(|(at, state)| match state {
            State::Hit { fingerprint, .. } | State::Done { fingerprint, .. } => {
                Some(Sub { stage: whole.instances[at].name.clone(), fingerprint: fingerprint.clone() })
            }
            _ => None,
        });
        Ok((all, subs.collect()))
    }
}

/// Which stage of a trial failed, and why.
fn failed(stage: String, state: &State, whole: &Whole, states: &[State]) -> Tried {
    match state {
        State::Failed { error, .. } => Tried::Failed { stage, error: error.clone() },
        State::Blocked { because } => {
            let cause = whole.instances.iter().position(|i| i.name == *because).map(|at| &states[at]);
            match cause {
                Some(State::Failed { error, .. }) => Tried::Failed { stage: because.clone(), error: error.clone() },
                _ => Tried::Failed { stage, error: format!("blocked by {because}") },
            }
        }
        _ => Tried::Failed { stage, error: "it did not run".into() },
    }
}

/// Passes on the events of trials. A stage of the file that trials only use is reported by its own run.
struct OfTrials<'a> {
    observer: &'a dyn Observer,
    shared: HashSet<&'a str>,
    partial: &'a Partial,
}

impl Observer for OfTrials<'_> {
    fn event(&self, event: &Event) {
        match event {
            Event::StageHit { stage, .. } if self.shared.contains(stage.as_str()) => return,
            Event::StageHit { fingerprint, .. } | Event::StageDone { fingerprint, .. } => {
                // Only a collection of garbage reads it, and the entry of the stage will refer to the result too.
                let _ = self.partial.refer(fingerprint);
            }
            _ => {}
        }
        self.observer.event(event);
    }
}
