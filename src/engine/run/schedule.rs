//! States, threads and cancellation: runs what is needed, longest chain first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::attempt::{Attempt, Order, attempt};
use super::export;
use super::recorder::Recorder;
use super::slots::{Lane, Slots, Ticket};
use super::state::{State, outcome};
use crate::contract::event::{Event, Observer, Outcome, StageInfo};
use crate::contract::kind::Resource;
use crate::judge::job::Job;
use crate::judge::plan::{Action, Plan, Planned};
use crate::judge::verdict::{Upstream, Verdict};
use crate::store::entry::Entry;
use crate::store::error::CacheError;
use crate::store::lease::{Lease, Shared};

pub struct RunOptions<'a> {
    /// Stages at a time.
    pub jobs: usize,
    /// Go on with what does not need the failed stage.
    pub keep_going: bool,
    pub device: &'a str,
    /// GPUs that stages may occupy, one each; 0 where `device` is the CPU.
    pub gpus: usize,
    /// Run only what this plan says: a stage that has moved since fails.
    pub plan: Option<&'a Plan>,
}

struct Schedule<'a> {
    job: &'a Job<'a>,
    options: &'a RunOptions<'a>,
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
    states: Vec<State>,
    /// How many of the instances above have no result yet, by instance.
    lacking: Vec<usize>,
    /// Waiting instances above which something happened, in topological order.
    stirred: BTreeSet<usize>,
    /// Fingerprints being made, and the instances that wait to take over the result.
    making: HashMap<String, Vec<usize>>,
    slots: Slots,
    /// Longest chain below each instance, in seconds; there once something has to run.
    urgency: Option<Vec<f64>>,
    planned: Option<HashMap<&'a str, &'a Planned>>,
    lease: &'a Lease<'a>,
    /// Fingerprints of hits that the lease does not name yet.
    hits: Vec<String>,
    /// Instances that still have to run although the cache has them.
    forced: Vec<bool>,
    recorder: Recorder<'a>,
    failed: bool,
}

/// Run what is needed. Everything that happens is told to `observer`; the outcome says how it ended.
pub fn run(
    job: &Job<'_>,
    options: &RunOptions<'_>,
    observer: &dyn Observer,
    stop: &AtomicBool,
) -> Result<Outcome, CacheError> {
    let begin = Instant::now();
    let info = (0..job.pipeline.instances.len()).filter(|&at| job.needed[at]).map(|at| job.instance(at));
    let stages = info.map(|i| StageInfo { name: i.name.clone(), kind: i.kind.name.into() }).collect();
    observer.event(&Event::RunStarted {
        pipeline: job.pipeline.name.clone(),
        profile: job.pipeline.profile.clone(),
        stages,
        jobs: options.jobs,
    });
    let lease = job.cache.lease();
    let all = 0..job.pipeline.instances.len();
    let mut schedule = Schedule {
        job,
        options,
        observer,
        stop,
        states: job.needed.iter().map(|n| if *n { State::Waiting } else { State::Unneeded }).collect(),
        lacking: all.clone().map(|at| job.graph.upstream(at).count()).collect(),
        stirred: all.filter(|&at| job.needed[at]).collect(),
        making: HashMap::new(),
        slots: Slots::new(options.jobs, options.gpus),
        urgency: None,
        planned: options.plan.map(Plan::index),
        lease: &lease,
        hits: Vec::new(),
        forced: job.forced.to_vec(),
        recorder: Recorder::start(job, observer),
        failed: false,
    };
    let shared = schedule.drive()?;
    schedule.export();
    drop(shared);
    let outcome = outcome(&schedule.states, stop.load(Ordering::Relaxed), begin.elapsed());
    schedule.recorder.finish(&schedule.states, &outcome);
    // Not keeping digests costs time in the next run, nothing else.
    let _ = job.stats.save();
    observer.event(&Event::RunFinished { outcome: outcome.clone() });
    Ok(outcome)
}

impl<'a> Schedule<'a> {
    /// Until nothing runs and nothing can: judge what is ready, start what has a slot, wait for one to end.
    ///
    /// Results are counted on either under the shared lock, which comes back at the end, or with a lease: a run that has
    /// nothing to do writes nothing.
    fn drive(&mut self) -> Result<Shared, CacheError> {
        let job = self.job;
        let (send, receive) = mpsc::channel();
        thread::scope(|scope| {
            let mut running = 0usize;
            loop {
                let shared = job.cache.shared()?;
                self.judge_stirred()?;
                while let Some(order) = self.next() {
                    let (at, send) = (order.at, send.clone());
                    // Autodiff graphs of deep models are dropped recursively: more than the usual 2 MiB of stack.
                    let spawned = thread::Builder::new()
                        .name(format!("stage {}", job.instance(at).name))
                        .stack_size(32 << 20)
                        .spawn_scoped(scope, move || {
                            let _ = send.send((at, attempt(job, &order)));
                        });
                    match spawned {
                        Ok(_) => running += 1,
                        Err(e) => self.end(at, Attempt::Failed { error: format!("cannot start a thread: {e}") })?,
                    }
                }
                if running == 0 && !self.stirred.is_empty() {
                    // A thread that could not be started has ended its stage already.
                    continue;
                }
                if running == 0 {
                    return Ok(shared);
                }
                self.lease.keep(&std::mem::take(&mut self.hits), &shared)?;
                drop(shared);
                if let Ok((at, ended)) = receive.recv() {
                    running -= 1;
                    self.end(at, ended)?;
                }
            }
        })
    }

    /// Give every waiting instance whose upstream is complete its verdict; hits complete others, so go on until none is left.
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
        // Damage found on the way makes a planned hit run again: that is no move of the user's.
        let planned = self.planned.as_mut().and_then(|all| all.remove(name));
        let moved = planned.and_then(|p| p.moved(verdict.action, &verdict.manifest, &verdict.why));
        if let Some(moved) = moved {
            let error = format!("moved since it was planned: {}", moved.what);
            self.set(at, State::Failed { error, seconds: 0.0 });
            return Ok(());
        }
        let (Some(fingerprint), false) = (verdict.fingerprint, verdict.action == Action::Blocked) else {
            self.set(at, State::Failed { error: verdict.why.join("; "), seconds: 0.0 });
            return Ok(());
        };
        match verdict.entry {
            Some(entry) if !self.forced[at] => self.set(at, State::Hit { entry: Box::new(entry), fingerprint }),
            _ => {
                if !self.forced[at]
                    && let Some(waiting) = self.making.get_mut(&fingerprint)
                {
                    waiting.push(at);
                    return Ok(());
                }
                if self.urgency.is_none() {
                    // Before the first stage, not after an hour of it.
                    self.job.cache.writable()?;
                }
                self.job.cache.forget_incomplete(&fingerprint)?;
                self.making.entry(fingerprint.clone()).or_default();
                self.set(at, State::Queued { manifest: verdict.manifest, fingerprint, why: verdict.why });
            }
        }
        Ok(())
    }

    /// Start the most urgent queued instance that has a slot.
    fn next(&mut self) -> Option<Order<'a>> {
        if self.stop.load(Ordering::Relaxed) || (self.failed && !self.options.keep_going) {
            return None;
        }
        let states = &self.states;
        // One may have been sent back to wait since it was queued: damage was found above it.
        let at = self.slots.take(|at| matches!(states[at], State::Queued { .. }))?;
        let State::Queued { manifest, fingerprint, why } = self.states[at].clone() else { return None };
        let stage = self.job.instance(at).name.clone();
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
        })
    }

    fn queue(&mut self, at: usize) {
        let job = self.job;
        let urgency = self.urgency.get_or_insert_with(|| job.graph.urgency(&job.estimates()))[at];
        let instance = job.instance(at);
        let on_gpu = self.options.gpus > 0 && instance.work.resource() == Resource::Device;
        let lane = if on_gpu { Lane::Gpu } else { Lane::Cpu };
        self.slots.push(Ticket { at, lane, group: instance.exclusive.clone(), urgency });
    }

    fn upstream_of(&self, at: usize) -> BTreeMap<usize, Entry> {
        self.job.graph.upstream(at).filter_map(|from| Some((from, self.states[from].entry()?.clone()))).collect()
    }

    fn end(&mut self, at: usize, attempt: Attempt) -> Result<(), CacheError> {
        self.slots.give_back(at);
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
                // Made in this very run: making it once more would only go round in circles.
                if let State::Done { fingerprint, .. } = &self.states[from]
                    && self.job.cache.entry(fingerprint)?.is_none()
                {
                    let error = format!("the result of `{name}` was damaged as soon as it was made: check the disk");
                    self.set(at, State::Failed { error, seconds });
                    return Ok(());
                }
                // Another consumer may have found the same damage and sent the stage back already.
                if let State::Hit { fingerprint, .. } = &self.states[from] {
                    // Unless another process has made it good by now.
                    self.job.cache.forget_incomplete(fingerprint)?;
                    self.set(from, State::Waiting);
                }
                self.forced[at] = self.job.forced[at];
                self.set(at, State::Waiting);
            }
        }
        Ok(())
    }

    /// Whether a stage that ran gave what it gave last time: then what follows stops early.
    fn is_unchanged(&self, at: usize, fingerprint: &str, entry: &Entry) -> bool {
        // Under the same fingerprint the last result has just been replaced by this one.
        let last = self.job.latest(at).filter(|l| l.fingerprint != fingerprint);
        let last = last.and_then(|l| self.job.cache.entry(&l.fingerprint).ok().flatten());
        last.is_some_and(|last| last.outputs == entry.outputs)
    }

    /// The one transition: says what it means, records what is worth keeping and stirs those below.
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
                let facts = entry.made.facts.iter().map(|(k, v)| (k.clone(), *v)).collect();
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

    /// What the transition of `at` from `before` means for others.
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

    /// Copy the outputs of finished stages to where the file wants them.
    fn export(&mut self) {
        for at in 0..self.states.len() {
            let (Some(entry), Some(folder)) = (self.states[at].entry(), &self.job.instance(at).export) else {
                continue;
            };
            let stage = self.job.instance(at).name.clone();
            match export::export(self.job, at, folder, entry) {
                Ok(None) => {}
                Ok(Some(path)) => self.observer.event(&Event::Exported { stage, path }),
                Err(error) => self.set(at, State::Failed { error: format!("cannot export: {error}"), seconds: 0.0 }),
            }
        }
    }
}
