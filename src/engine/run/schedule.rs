//! Schedules a run: states, what starts when, and cancellation; starts the longest chain first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::archived::Archived;
use super::attempt::Order;
use super::ended::Attempt;
use super::executor::{Ended, Executor, Threads};
use super::export;
use super::pool::{Desk, LOOK, Pool};
use super::recorder::Recorder;
use super::slots::{Amounts, Key};
use super::state::{State, outcome};
use super::subrun::SubRuns;
use crate::contract::event::{Event, Observer, Outcome, StageInfo};
use crate::contract::needs::Machine;
use crate::contract::run_id::RunId;
use crate::judge::job::Job;
use crate::judge::plan::{Action, Plan, Planned};
use crate::judge::verdict::{Upstream, Verdict};
use crate::store::entry::Entry;
use crate::store::error::CacheError;
use crate::store::lease::{Lease, Shared};

/// A stage ends, or the run waits for it.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

#[derive(Clone, Copy)]
pub struct RunOptions<'a> {
    /// Identifies the run in its events, its log and the run database.
    pub id: &'a RunId,
    /// The slots: how many stages run at a time if each takes one.
    pub jobs: usize,
    /// After a failure, go on with the stages that do not depend on it.
    pub keep_going: bool,
    pub device: &'a str,
    /// GPUs that stages may occupy; 0 if `device` is the CPU.
    pub gpus: usize,
    /// Bytes of memory for all stages together; None to limit nothing.
    pub memory: Option<u64>,
    /// Run only what this plan says: a stage that changed since then fails.
    pub plan: Option<&'a Plan>,
    /// Where stages run.
    pub executor: &'a dyn Executor,
}

impl RunOptions<'_> {
    /// What the run has for its stages.
    pub fn machine(&self) -> Machine {
        Machine { cpus: self.jobs, memory: self.memory, gpus: self.gpus }
    }
}

/// What a schedule runs with.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) options: &'a RunOptions<'a>,
    pub(super) observer: &'a dyn Observer,
    pub(super) stop: &'a AtomicBool,
    pub(super) lease: &'a Lease<'a>,
    pub(super) pool: &'a Pool,
    pub(super) archived: &'a Archived<'a>,
    /// None for the stages of the file.
    pub(super) trials: Option<&'a Beginnings>,
}

/// The folders of files with which stages of trials begin their work, by the name of the instance.
pub(super) type Beginnings = HashMap<String, PathBuf>;

impl Around<'_> {
    fn is_of_trials(&self) -> bool {
        self.trials.is_some()
    }
}

pub(super) struct Schedule<'a> {
    around: Around<'a>,
    job: &'a Job<'a>,
    options: &'a RunOptions<'a>,
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
    pub(super) states: Vec<State>,
    /// The number of upstream instances without a result, by instance.
    lacking: Vec<usize>,
    /// Waiting instances with a change upstream, in topological order.
    stirred: BTreeSet<usize>,
    /// Fingerprints being made, each with the instances that wait for the result.
    making: HashMap<String, Vec<usize>>,
    desk: Desk<'a>,
    /// The longest chain downstream of each instance, in seconds; computed when the first stage has to run.
    urgency: Option<Vec<f64>>,
    planned: Option<HashMap<&'a str, &'a Planned>>,
    lease: &'a Lease<'a>,
    /// Fingerprints of hits that are not leased yet.
    pub(super) hits: Vec<String>,
    /// Instances that still have to run even though the cache has their results.
    forced: Vec<bool>,
    pub(super) recorder: Recorder<'a>,
    archived: &'a Archived<'a>,
    failed: bool,
}

/// Run what is needed. Every step is reported to `observer`; the outcome summarizes the run.
pub fn run(
    job: &Job<'_>,
    options: &RunOptions<'_>,
    observer: &dyn Observer,
    stop: &AtomicBool,
) -> Result<Outcome, CacheError> {
    let begin = Instant::now();
    observer.event(&Event::RunStarted {
        id: options.id.clone(),
        pipeline: job.pipeline.name.clone(),
        profile: job.pipeline.profile.clone(),
        jobs: options.jobs,
        stages: (0..job.pipeline.instances.len()).filter(|&at| job.needed[at]).map(|at| info(job, at)).collect(),
    });
    let (lease, pool) = (job.cache.lease(), Pool::new(&options.machine()));
    let archived = Archived::start(job, observer);
    let around = Around { job, options, observer, stop, lease: &lease, pool: &pool, archived: &archived, trials: None };
    let mut schedule = Schedule::new(around, Recorder::start(job, options.id, observer));
    let shared = schedule.drive()?;
    schedule.export();
    drop(shared);
    let outcome = outcome(&schedule.states, stop.load(Ordering::Relaxed), begin.elapsed());
    schedule.recorder.finish(&schedule.states, &outcome);
    // If saving fails, the next run computes the digests again.
    let _ = job.stats.save();
    archived.finish(stop);
    observer.event(&Event::RunFinished { outcome: outcome.clone() });
    Ok(outcome)
}

/// An instance and its edges, for observers.
pub(crate) fn info(job: &Job<'_>, at: usize) -> StageInfo {
    let instance = job.instance(at);
    let mut inputs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for wire in &instance.inputs {
        inputs.entry(wire.port.into()).or_default().push(job.instance(wire.from).name.clone());
    }
    StageInfo { name: instance.name.clone(), kind: instance.kind.name.into(), inputs, parent: None }
}

impl<'a> Schedule<'a> {
    pub(super) fn new(around: Around<'a>, recorder: Recorder<'a>) -> Self {
        let Around { job, options, observer, stop, lease, pool, archived, .. } = around;
        let all = 0..job.pipeline.instances.len();
        Self {
            around,
            job,
            options,
            observer,
            stop,
            states: job.needed.iter().map(|n| if *n { State::Waiting } else { State::Unneeded }).collect(),
            lacking: all.clone().map(|at| job.graph.upstream(at).count()).collect(),
            stirred: all.filter(|&at| job.needed[at]).collect(),
            making: HashMap::new(),
            desk: pool.desk(),
            urgency: None,
            planned: options.plan.map(Plan::index),
            lease,
            hits: Vec::new(),
            forced: job.forced.to_vec(),
            recorder,
            archived,
            failed: false,
        }
    }

    /// Judge what is ready, start what has a slot and wait for one to end, until nothing runs and nothing can start.
    ///
    /// The run relies on results either under the shared lock, which is returned at the end, or under a lease. So a run
    /// with nothing to do writes nothing.
    pub(super) fn drive(&mut self) -> Result<Shared, CacheError> {
        let job = self.job;
        let (send, receive) = mpsc::channel::<Option<(usize, Attempt)>>();
        let bell = send.clone();
        self.desk.listen(move || {
            let _ = bell.send(None);
        });
        thread::scope(|scope| {
            let mut running = 0usize;
            loop {
                let shared = job.cache.shared()?;
                self.judge_stirred()?;
                while let Some(order) = self.next() {
                    let ended = Ended { at: order.at, to: send.clone() };
                    let executor: &dyn Executor = match self.runs_here(order.at) {
                        true => &Threads,
                        false => self.options.executor,
                    };
                    executor.start(scope, job, order, ended);
                    running += 1;
                }
                if running == 0 && !self.waits_for_others() {
                    return Ok(shared);
                }
                self.lease.keep(&std::mem::take(&mut self.hits), &shared)?;
                drop(shared);
                // None: others have freed what they occupied.
                if let Ok(Some((at, ended))) = receive.recv_timeout(if running == 0 { LOOK } else { FOREVER }) {
                    running -= 1;
                    self.end(at, ended)?;
                }
            }
        })
    }

    /// Judge every waiting instance whose upstream is complete. A hit may complete others, so repeat until none is
    /// left.
    fn judge_stirred(&mut self) -> Result<(), CacheError> {
        while let Some(at) = self.stirred.pop_first() {
            if !matches!(self.states[at], State::Waiting) {
                continue;
            }
            let over = |from: &usize| self.states[*from].is_over() && self.states[*from].entry().is_none();
            if let Some(from) = self.job.graph.upstream(at).find(over) {
                let because = match &self.states[from] {
                    State::Blocked { because } => because.clone(),
                    _ => self.job.instance(from).name.clone(),
                };
                self.set(at, State::Blocked { because });
            } else if self.lacking[at] == 0 {
                let states = &self.states;
                let known = |from: usize| states[from].entry().map_or(Upstream::Pending, Upstream::Known);
                let verdict = self.job.judge(at, &known)?;
                self.judged(at, verdict)?;
            }
        }
        Ok(())
    }

    fn judged(&mut self, at: usize, verdict: Verdict) -> Result<(), CacheError> {
        let name = self.job.instance(at).name.as_str();
        // `remove`: if damage later makes a planned hit run again, that is no change by the user.
        let planned = self.planned.as_mut().and_then(|all| all.remove(name));
        let moved = planned.and_then(|p| p.moved(verdict.action, &verdict.manifest, &verdict.why));
        if let Some(moved) = moved {
            let error = format!("changed since the plan was made: {}", moved.what);
            self.set(at, State::Failed { error, seconds: 0.0 });
            return Ok(());
        }
        let (Some(fingerprint), false) = (verdict.fingerprint, verdict.action == Action::Blocked) else {
            self.set(at, State::Failed { error: verdict.why.join("; "), seconds: 0.0 });
            return Ok(());
        };
        match verdict.entry {
            Some(entry) if !self.forced[at] && verdict.fetch.is_none() => {
                self.set(at, State::Hit { entry: Box::new(entry), fingerprint })
            }
            _ => {
                if !self.forced[at]
                    && let Some(waiting) = self.making.get_mut(&fingerprint)
                {
                    waiting.push(at);
                    return Ok(());
                }
                let lacking = self.options.machine().lacking(self.job.instance(at).needs);
                if !lacking.is_empty() {
                    let all: Vec<String> = lacking.into_iter().map(|(_, what)| what).collect();
                    let error = format!("it needs {}", all.join(" and "));
                    self.set(at, State::Failed { error, seconds: 0.0 });
                    return Ok(());
                }
                if self.urgency.is_none() {
                    // Check this before the first stage, not after an hour of it.
                    self.job.cache.writable()?;
                }
                self.job.cache.forget_incomplete(&fingerprint)?;
                self.making.entry(fingerprint.clone()).or_default();
                self.set(at, State::Queued { manifest: verdict.manifest, fingerprint, why: verdict.why });
            }
        }
        Ok(())
    }

    /// Whether an instance runs in this process, whatever the executor: a process of its own has no schedule for its
    /// trials, and knows none of the instances of a trial.
    fn runs_here(&self, at: usize) -> bool {
        self.around.is_of_trials() || self.job.instance(at).kind.runs_trials
    }

    /// Whether nothing more starts.
    fn is_closed(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || (self.failed && !self.options.keep_going)
    }

    /// Whether trials wait for what other stages of the run occupy.
    fn waits_for_others(&self) -> bool {
        let is_queued = |state: &State| matches!(state, State::Queued { .. });
        self.around.is_of_trials() && !self.is_closed() && self.states.iter().any(is_queued)
    }

    /// Start the most urgent queued instance that gets a slot.
    fn next(&mut self) -> Option<Order<'a>> {
        if self.is_closed() {
            self.desk.withdraw();
            return None;
        }
        let states = &self.states;
        // An instance may have gone back to waiting because damage was found upstream.
        let at = self.desk.take(|at| matches!(states[at], State::Queued { .. }))?;
        let State::Queued { manifest, fingerprint, why } = self.states[at].clone() else { return None };
        let stage = self.job.instance(at).name.clone();
        let key = Key { run: self.desk.run(), at };
        let runs_trials = self.job.instance(at).kind.runs_trials && !self.around.is_of_trials();
        let trials = runs_trials
            .then(|| SubRuns::new(self.around, key, fingerprint.clone(), self.recorder.to()))
            .map(|trials| Box::new(trials) as _);
        let begin_with = self.around.trials.and_then(|all| all.get(&stage)).cloned();
        self.observer.event(&Event::StageStarted { stage, fingerprint: fingerprint.clone(), why });
        self.set(at, State::Running { fingerprint: fingerprint.clone(), since: Instant::now() });
        Some(Order {
            at,
            manifest,
            fingerprint,
            upstream: self.upstream_of(at),
            forced: std::mem::take(&mut self.forced[at]),
            device: self.options.device,
            stop: self.stop,
            observer: self.observer,
            lease: self.lease,
            trials,
            begin_with,
            archived: Some(self.archived),
        })
    }

    fn queue(&mut self, at: usize) {
        let job = self.job;
        let urgency = self.urgency.get_or_insert_with(|| job.graph.urgency(&job.estimates()))[at];
        let instance = job.instance(at);
        let amounts = Amounts::of(instance.needs, &self.options.machine());
        self.desk.push(at, amounts, instance.exclusive.clone(), urgency);
    }

    fn upstream_of(&self, at: usize) -> BTreeMap<usize, Entry> {
        self.job.graph.upstream(at).filter_map(|from| Some((from, self.states[from].entry()?.clone()))).collect()
    }

    fn end(&mut self, at: usize, attempt: Attempt) -> Result<(), CacheError> {
        let ended = self.ended(at, attempt);
        // After the event of its end: another schedule may start a stage with what is free.
        self.desk.give_back(at);
        ended
    }

    fn ended(&mut self, at: usize, attempt: Attempt) -> Result<(), CacheError> {
        let State::Running { fingerprint, since } = self.states[at].clone() else { return Ok(()) };
        let seconds = since.elapsed().as_secs_f64();
        match attempt {
            Attempt::Done { entry, was_made: false } => self.set(at, State::Hit { entry, fingerprint }),
            Attempt::Done { entry, was_made: true } => {
                let unchanged = self.is_unchanged(at, &fingerprint, &entry);
                self.set(at, State::Done { entry, fingerprint, unchanged, seconds });
            }
            Attempt::Failed { error } => self.set(at, State::Failed { error, seconds }),
            Attempt::Interrupted => self.set(at, State::Interrupted),
            Attempt::DamagedInput { from, damaged } => {
                let name = &self.job.instance(from).name;
                self.observer.event(&Event::Damaged {
                    stage: name.clone(),
                    file: damaged.file.display().to_string(),
                    aside: damaged.aside.map(|path| path.display().to_string()),
                });
                // The result was made in this run: making it again would never end.
                if let State::Done { fingerprint, .. } = &self.states[from]
                    && self.job.cache.entry(fingerprint)?.is_none()
                {
                    let error =
                        format!("the result of `{name}` was damaged right after it was written; check the disk");
                    self.set(at, State::Failed { error, seconds });
                    return Ok(());
                }
                // Another consumer may have found the damage first and sent the stage back.
                if let State::Hit { fingerprint, .. } = &self.states[from] {
                    // Do nothing if another process has restored the result.
                    self.job.cache.forget_incomplete(fingerprint)?;
                    self.set(from, State::Waiting);
                }
                self.forced[at] = self.job.forced[at];
                self.set(at, State::Waiting);
            }
        }
        Ok(())
    }

    /// Whether a stage gave the same outputs as last time, so that downstream stages may be hits.
    fn is_unchanged(&self, at: usize, fingerprint: &str, entry: &Entry) -> bool {
        // If the fingerprint is the same, this result has just replaced the last one.
        let last = self.job.latest(at).filter(|l| l.fingerprint != fingerprint);
        let last = last.and_then(|l| self.job.cache.entry(&l.fingerprint).ok().flatten());
        last.is_some_and(|last| last.outputs == entry.outputs)
    }

    /// The only way to change a state: reports and records the change, and stirs the instances downstream.
    fn set(&mut self, at: usize, state: State) {
        let stage = self.job.instance(at).name.clone();
        match &state {
            State::Hit { entry, fingerprint } => {
                self.hits.push(fingerprint.clone());
                self.observer.event(&Event::StageHit {
                    stage,
                    fingerprint: fingerprint.clone(),
                    seconds: entry.made.seconds,
                });
            }
            State::Done { entry, fingerprint, unchanged, seconds } => {
                self.recorder.made(at, fingerprint, entry, *seconds);
                let facts = entry.made.facts.clone();
                self.observer.event(&Event::StageDone {
                    stage,
                    fingerprint: fingerprint.clone(),
                    seconds: *seconds,
                    unchanged: *unchanged,
                    facts,
                });
            }
            State::Failed { error, seconds } => {
                self.failed = true;
                self.observer.event(&Event::StageFailed { stage, error: error.clone(), seconds: *seconds });
            }
            State::Blocked { because } => self.observer.event(&Event::StageBlocked { stage, because: because.clone() }),
            State::Interrupted => self.observer.event(&Event::StageInterrupted { stage }),
            State::Queued { .. } => self.queue(at),
            State::Unneeded | State::Waiting | State::Running { .. } => {}
        }
        let before = std::mem::replace(&mut self.states[at], state);
        self.stir(at, &before);
    }

    /// Update other instances after the state of `at` changed from `before`.
    fn stir(&mut self, at: usize, before: &State) {
        let job = self.job;
        let now = &self.states[at];
        if let (Some(fingerprint), None) = (before.making(), now.making()) {
            self.stirred.extend(self.making.remove(fingerprint).into_iter().flatten());
        }
        let (had, has) = (before.entry().is_some(), now.entry().is_some());
        if matches!(now, State::Waiting) {
            self.stirred.insert(at);
        }
        if has && !had {
            for below in job.graph.downstream(at) {
                self.lacking[below] -= 1;
                if self.lacking[below] == 0 {
                    self.stirred.insert(below);
                }
            }
        } else if had && !has {
            for below in job.graph.downstream(at) {
                self.lacking[below] += 1;
                if matches!(self.states[below], State::Queued { .. }) {
                    self.set(below, State::Waiting);
                }
            }
        } else if now.is_over() && !has {
            self.stirred.extend(job.graph.downstream(at));
        }
    }

    /// Copy the outputs of finished stages to their export folders.
    fn export(&mut self) {
        for at in 0..self.states.len() {
            let (Some(entry), Some(to)) = (self.states[at].entry(), &self.job.instance(at).export) else {
                continue;
            };
            let stage = self.job.instance(at).name.clone();
            match export::export(self.job, &to.folder, entry) {
                Ok(None) => {}
                Ok(Some(path)) => self.observer.event(&Event::Exported { stage, path }),
                Err(error) => self.set(at, State::Failed { error: format!("cannot export: {error}"), seconds: 0.0 }),
            }
        }
    }
}
