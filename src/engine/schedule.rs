//! States, resources, threads and cancellation: runs what is needed, longest chain first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::cache::{CacheError, Entry};
use super::event::{Event, Observer, Outcome, StageInfo};
use super::execute::{Attempt, Order, attempt};
use super::export;
use super::history::StageRecord;
use super::kind::Resource;
use super::manifest::Manifest;
use super::plan::{Job, Upstream};

pub struct RunOptions<'a> {
    /// Stages at a time.
    pub jobs: usize,
    /// Go on with what does not need the failed stage.
    pub keep_going: bool,
    pub device: &'a str,
    /// GPUs that stages may occupy, one each; 0 where `device` is the CPU.
    pub gpus: usize,
}

/// Where an instance is. `Schedule::set` is the only way from one to the next.
#[derive(Debug, Clone)]
enum State {
    /// Not wanted in this run.
    Unneeded,
    Waiting,
    /// Judged: it has to run, and waits for a slot.
    Queued {
        manifest: Manifest,
        fingerprint: String,
        why: Vec<String>,
    },
    Running {
        fingerprint: String,
        since: Instant,
    },
    Hit {
        entry: Box<Entry>,
        fingerprint: String,
    },
    Done {
        entry: Box<Entry>,
        fingerprint: String,
        unchanged: bool,
        seconds: f64,
    },
    Failed {
        error: String,
        seconds: f64,
    },
    Blocked {
        because: String,
    },
    Interrupted,
}

impl State {
    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Hit { entry, .. } | Self::Done { entry, .. } => Some(entry),
            _ => None,
        }
    }

    fn is_over(&self) -> bool {
        !matches!(self, Self::Waiting | Self::Queued { .. } | Self::Running { .. })
    }
}

struct Schedule<'a> {
    job: &'a Job<'a>,
    options: &'a RunOptions<'a>,
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
    states: Vec<State>,
    /// Instances that still have to run although the cache has them.
    forced: Vec<bool>,
    run: Option<i64>,
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
    let mut schedule = Schedule {
        job,
        options,
        observer,
        stop,
        states: job.needed.iter().map(|n| if *n { State::Waiting } else { State::Unneeded }).collect(),
        forced: job.forced.to_vec(),
        run: None,
        failed: false,
    };
    match job.history.map(|h| h.start_run(&job.pipeline.name, job.pipeline.profile.as_deref())) {
        Some(Ok(run)) => schedule.run = Some(run),
        Some(Err(e)) => schedule.unrecorded(&e),
        None => {}
    }
    schedule.drive()?;
    schedule.export();
    let outcome = schedule.finish(begin.elapsed());
    observer.event(&Event::RunFinished { outcome: outcome.clone() });
    Ok(outcome)
}

impl Schedule<'_> {
    /// Until nothing runs and nothing can: judge what is ready, start what has a slot, wait for one to end.
    fn drive(&mut self) -> Result<(), CacheError> {
        let (job, stop, observer, device) = (self.job, self.stop, self.observer, self.options.device);
        let (send, receive) = mpsc::channel();
        thread::scope(|scope| {
            let mut urgency: Option<Vec<f64>> = None;
            let mut has_started = false;
            loop {
                self.judge_ready()?;
                while let Some(at) = self.next(&mut urgency) {
                    if !std::mem::replace(&mut has_started, true) {
                        job.cache.writable()?;
                    }
                    let State::Queued { manifest, fingerprint, why } = self.states[at].clone() else { continue };
                    observer.event(&Event::StageStarted {
                        stage: job.instance(at).name.clone(),
                        fingerprint: fingerprint.clone(),
                        why,
                    });
                    self.set(at, State::Running { fingerprint: fingerprint.clone(), since: Instant::now() });
                    let order = Order {
                        at,
                        manifest,
                        fingerprint,
                        upstream: self.upstream_of(at),
                        forced: std::mem::take(&mut self.forced[at]),
                        device,
                        stop,
                        observer,
                    };
                    let send = send.clone();
                    // Autodiff graphs of deep models are dropped recursively: more than the usual 2 MiB of stack.
                    let spawned = thread::Builder::new()
                        .name(format!("stage {}", job.instance(at).name))
                        .stack_size(32 << 20)
                        .spawn_scoped(scope, move || {
                            let _ = send.send((order.at, attempt(job, &order)));
                        });
                    if let Err(e) = spawned {
                        self.set(at, State::Failed { error: format!("cannot start a thread: {e}"), seconds: 0.0 });
                    }
                }
                if !self.states.iter().any(|s| matches!(s, State::Running { .. })) {
                    return Ok(());
                }
                if let Ok((at, ended)) = receive.recv() {
                    self.end(at, ended)?;
                }
            }
        })
    }

    /// Give every instance whose upstream is complete its verdict; hits may complete others, so go on until none is left.
    fn judge_ready(&mut self) -> Result<(), CacheError> {
        // Instances are in topological order: one pass sees each after all above it.
        for at in 0..self.states.len() {
            if !matches!(self.states[at], State::Waiting) {
                continue;
            }
            if let Some(from) = self
                .job
                .graph
                .upstream(at)
                .find(|&from| self.states[from].is_over() && self.states[from].entry().is_none())
            {
                let because = match &self.states[from] {
                    State::Blocked { because } => because.clone(),
                    _ => self.job.instance(from).name.clone(),
                };
                self.set(at, State::Blocked { because });
                continue;
            }
            if self.job.graph.upstream(at).any(|from| self.states[from].entry().is_none()) {
                continue;
            }
            let states = &self.states;
            let verdict =
                self.job.judge(at, &|from| states[from].entry().map_or(Upstream::Pending, Upstream::Known))?;
            let Some(fingerprint) = verdict.fingerprint else { continue };
            let state = match verdict.entry {
                Some(entry) if !self.forced[at] => State::Hit { entry: Box::new(entry), fingerprint },
                _ => State::Queued { manifest: verdict.manifest, fingerprint, why: verdict.why },
            };
            self.set(at, state);
        }
        Ok(())
    }

    /// The most urgent queued instance that has a slot.
    fn next(&self, urgency: &mut Option<Vec<f64>>) -> Option<usize> {
        if self.stop.load(Ordering::Relaxed) || (self.failed && !self.options.keep_going) {
            return None;
        }
        let takes_gpu = |at: usize| self.options.gpus > 0 && self.job.instance(at).work.resource() == Resource::Device;
        let running = |gpu: bool| {
            (0..self.states.len())
                .filter(|&at| matches!(self.states[at], State::Running { .. }) && takes_gpu(at) == gpu)
                .count()
        };
        let free = |gpu: bool| running(gpu) < if gpu { self.options.gpus } else { self.options.jobs };
        let queued: Vec<usize> =
            (0..self.states.len()).filter(|&at| matches!(self.states[at], State::Queued { .. })).collect();
        if queued.is_empty() {
            return None;
        }
        let (gpu_free, cpu_free) = (free(true), free(false));
        let urgency = urgency.get_or_insert_with(|| self.job.graph.urgency(&self.job.estimates()));
        // The first of equals, so that the order is that of the file.
        queued
            .into_iter()
            .filter(|&at| if takes_gpu(at) { gpu_free } else { cpu_free })
            .reduce(|a, b| if urgency[b] > urgency[a] { b } else { a })
    }

    fn upstream_of(&self, at: usize) -> BTreeMap<usize, Entry> {
        self.job.graph.upstream(at).filter_map(|from| Some((from, self.states[from].entry()?.clone()))).collect()
    }

    fn end(&mut self, at: usize, attempt: Attempt) -> Result<(), CacheError> {
        let State::Running { fingerprint, since } = self.states[at].clone() else { return Ok(()) };
        let seconds = since.elapsed().as_secs_f64();
        match attempt {
            Attempt::Done { entry, was_made: false } => self.set(at, State::Hit { entry, fingerprint }),
            Attempt::Done { entry, was_made: true } => {
                let unchanged = self.is_unchanged(at, &entry);
                self.set(at, State::Done { entry, fingerprint, unchanged, seconds });
            }
            Attempt::Failed { error } => self.set(at, State::Failed { error, seconds }),
            Attempt::Interrupted => self.set(at, State::Interrupted),
            Attempt::DamagedInput { from, damaged } => {
                let name = &self.job.instance(from).name;
                self.observer.event(&Event::Damaged {
                    stage: name.clone(),
                    file: damaged.file.display().to_string(),
                    aside: damaged.aside.display().to_string(),
                });
                // Made in this very run: making it once more would only go round in circles.
                if let State::Done { fingerprint, .. } = &self.states[from]
                    && self.job.cache.entry(fingerprint)?.is_none()
                {
                    let error = format!("the result of `{name}` was damaged as soon as it was made: check the disk");
                    return Ok(self.set(at, State::Failed { error, seconds }));
                }
                // Another consumer may have found the same damage and sent the stage back already.
                if let State::Hit { fingerprint, .. } = &self.states[from] {
                    self.job.cache.forget(fingerprint)?;
                    self.set(from, State::Waiting);
                }
                self.set(at, State::Waiting);
            }
        }
        Ok(())
    }

    /// Whether a stage that ran gave what it gave last time: then what follows stops early.
    fn is_unchanged(&self, at: usize, entry: &Entry) -> bool {
        let last =
            self.job.history.and_then(|h| h.last_fingerprint(&self.job.pipeline.name, &self.job.instance(at).name));
        let last = last.and_then(|f| self.job.cache.entry(&f).ok().flatten());
        last.is_some_and(|last| last.outputs == entry.outputs)
    }

    /// The one transition: says what it means and records what is worth keeping.
    fn set(&mut self, at: usize, state: State) {
        let stage = self.job.instance(at).name.clone();
        match &state {
            State::Hit { entry, fingerprint } => {
                self.observer.event(&Event::StageHit {
                    stage,
                    fingerprint: fingerprint.clone(),
                    seconds: entry.made.seconds,
                });
            }
            State::Done { entry, fingerprint, unchanged, seconds } => {
                self.record(&[record(self.job, at, fingerprint, entry, "run", *seconds)]);
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
            State::Unneeded | State::Waiting | State::Queued { .. } | State::Running { .. } => {}
        }
        self.states[at] = state;
    }

    /// The history is a convenience: a database that cannot be written is a warning, said once.
    fn record(&mut self, records: &[StageRecord<'_>]) {
        let (Some(run), Some(history)) = (self.run, self.job.history) else { return };
        if let Err(e) = history.record(run, records) {
            self.run = None;
            self.unrecorded(&e);
        }
    }

    fn unrecorded(&self, error: &rusqlite::Error) {
        let text = format!("the run database cannot be written: {error}");
        self.observer.event(&Event::Warning { stage: None, text });
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

    fn finish(&mut self, took: Duration) -> Outcome {
        let mut outcome = Outcome { seconds: took.as_secs_f64(), ..Outcome::default() };
        let was_stopped = self.stop.load(Ordering::Relaxed);
        for state in &self.states {
            match state {
                State::Hit { .. } => outcome.hits += 1,
                State::Done { .. } => outcome.ran += 1,
                State::Failed { .. } => outcome.failed += 1,
                State::Interrupted => outcome.interrupted = true,
                State::Blocked { .. } => outcome.blocked += 1,
                State::Waiting | State::Queued { .. } | State::Running { .. } if was_stopped => {
                    outcome.interrupted = true
                }
                State::Waiting | State::Queued { .. } | State::Running { .. } => outcome.blocked += 1,
                State::Unneeded => {}
            }
        }
        let job = self.job;
        let states = std::mem::take(&mut self.states);
        let hits: Vec<StageRecord<'_>> = states
            .iter()
            .enumerate()
            .filter_map(|(at, s)| match s {
                State::Hit { entry, fingerprint } => {
                    Some(record(job, at, fingerprint, entry, "hit", entry.made.seconds))
                }
                _ => None,
            })
            .collect();
        self.record(&hits);
        if let (Some(run), Some(history)) = (self.run, job.history) {
            let _ = history.finish_run(run, &outcome);
        }
        // Not keeping digests costs time in the next run, nothing else.
        let _ = job.stats.save();
        outcome
    }
}

fn record<'a>(
    job: &'a Job<'_>,
    at: usize,
    fingerprint: &'a str,
    entry: &'a Entry,
    state: &'a str,
    seconds: f64,
) -> StageRecord<'a> {
    let instance = job.instance(at);
    let facts = entry.made.facts.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    StageRecord { name: &instance.name, kind: instance.kind.name, fingerprint, state, seconds, facts }
}
