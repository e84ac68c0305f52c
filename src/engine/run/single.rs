//! Runs one stage of a plan: the work of a process that an executor starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::attempt::{Order, attempt};
use super::ended::Attempt;
use super::schedule::info;
use crate::contract::event::{Event, Observer, Outcome};
use crate::contract::run_id::RunId;
use crate::judge::job::Job;
use crate::judge::plan::{Action, Plan};
use crate::judge::verdict::Upstream;
use crate::store::entry::Entry;
use crate::store::error::CacheError;
use crate::store::manifest::Manifest;

/// How the process of a stage ended, as its exit code. 65, 66 and 75 have their meaning in `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The result is in the cache.
    Done = 0,
    Failed = 1,
    /// An input is damaged: the stage that made it has to run again.
    DamagedInput = 65,
    /// The cache does not have an input.
    MissingInput = 66,
    /// The stage was asked to stop; its checkpoints are kept.
    Interrupted = 75,
}

/// One stage of a plan.
pub struct Single<'a> {
    /// Identifies the process's events.
    pub id: &'a RunId,
    pub job: &'a Job<'a>,
    pub plan: &'a Plan,
    pub at: usize,
    pub device: &'a str,
    pub observer: &'a dyn Observer,
    pub stop: &'a AtomicBool,
}

/// How many missing inputs a message names.
const NAMED: usize = 4;

/// Why a stage ends without an attempt.
struct Refused(Exit, String);

impl Single<'_> {
    /// Judge the stage again, run it under its lock and commit its result.
    pub fn run(&self) -> Result<Exit, CacheError> {
        let begin = Instant::now();
        self.observer.event(&Event::RunStarted {
            id: self.id.clone(),
            pipeline: self.job.pipeline.name.clone(),
            profile: self.job.pipeline.profile.clone(),
            jobs: 1,
            stages: vec![info(self.job, self.at)],
        });
        let attempt = self.attempt()?;
        let seconds = begin.elapsed().as_secs_f64();
        let (exit, outcome) = self.report(attempt, seconds);
        // If saving fails, the next process computes the digests again.
        let _ = self.job.stats.save();
        self.observer.event(&Event::RunFinished { outcome: Outcome { seconds, ..outcome } });
        Ok(exit)
    }

    fn attempt(&self) -> Result<Result<(String, Attempt), Refused>, CacheError> {
        let (job, at) = (self.job, self.at);
        let lease = job.cache.lease();
        let shared = job.cache.shared()?;
        let upstream = match self.upstream()? {
            Ok(upstream) => upstream,
            Err(refused) => return Ok(Err(refused)),
        };
        let fingerprints: Vec<String> = upstream.values().map(|e| e.manifest.fingerprint()).collect();
        lease.keep(&fingerprints, &shared)?;
        let verdict = job.judge(at, &|from| upstream.get(&from).map_or(Upstream::Pending, Upstream::Known))?;
        if let Some(change) = self.change(&verdict.manifest) {
            return Ok(Err(Refused(Exit::Failed, format!("changed since the plan was made: {change}"))));
        }
        let (Some(fingerprint), false) = (verdict.fingerprint, verdict.action == Action::Blocked) else {
            return Ok(Err(Refused(Exit::Failed, verdict.why.join("; "))));
        };
        if let Some(entry) = verdict.entry {
            return Ok(Ok((fingerprint, Attempt::Done { entry: Box::new(entry), was_made: false })));
        }
        job.cache.forget_incomplete(&fingerprint)?;
        drop(shared);
        let stage = job.instance(at).name.clone();
        self.observer.event(&Event::StageStarted { stage, fingerprint: fingerprint.clone(), why: verdict.why });
        let order = Order {
            at,
            manifest: verdict.manifest,
            fingerprint,
            upstream,
            forced: job.forced[at],
            device: self.device,
            stop: self.stop,
            observer: self.observer,
            lease: &lease,
            trials: None,
            begin_with: None,
            archived: None,
        };
        let attempt = attempt(job, &order);
        Ok(Ok((order.fingerprint, attempt)))
    }

    /// The entries of the upstream instances: those that the plan names, else those of the pipeline as it is now.
    fn upstream(&self) -> Result<Result<BTreeMap<usize, Entry>, Refused>, CacheError> {
        let (job, planned) = (self.job, self.plan.index());
        let mut verdicts = None;
        let (mut found, mut missing) = (BTreeMap::new(), Vec::new());
        let upstream: BTreeSet<usize> = job.graph.upstream(self.at).collect();
        for from in upstream {
            let name = job.instance(from).name.as_str();
            let entry = match planned.get(name).and_then(|p| p.fingerprint.as_ref()) {
                Some(fingerprint) => job.cache.entry(fingerprint)?,
                None => {
                    if verdicts.is_none() {
                        verdicts = Some(job.verdicts()?);
                    }
                    verdicts.as_mut().and_then(|all| all[from].as_mut()).and_then(|v| v.entry.take())
                }
            };
            match entry {
                Some(entry) => drop(found.insert(from, entry)),
                None => missing.push(name),
            }
        }
        let stage = &job.instance(self.at).name;
        let text = match missing.as_slice() {
            [] => return Ok(Ok(found)),
            [one] => format!("`{stage}` needs the result of `{one}`, which is not in the cache; run `{one}` first"),
            several => {
                let more = several.len().saturating_sub(NAMED);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let names = several[..several.len().min(NAMED)].join("`, `");
                format!("`{stage}` needs results that are not in the cache; run these stages first: `{names}`{more}")
            }
        };
        Ok(Err(Refused(Exit::MissingInput, text)))
    }

    /// How the stage differs from the plan, if it does.
    fn change(&self, now: &Manifest) -> Option<String> {
        let stage = &self.job.instance(self.at).name;
        let Some(planned) = self.plan.index().remove(stage.as_str()) else {
            return Some(format!("the plan has no stage `{stage}`"));
        };
        let moved = planned.rewired(&self.job.sources(self.at)).or_else(|| planned.changed(now));
        moved.map(|moved| moved.what)
    }

    /// Report how the attempt ended.
    fn report(&self, ended: Result<(String, Attempt), Refused>, seconds: f64) -> (Exit, Outcome) {
        let stage = self.job.instance(self.at).name.clone();
        let failed = |error| Event::StageFailed { stage: stage.clone(), error, seconds };
        let failure = Outcome { failed: 1, ..Outcome::default() };
        let (exit, event, outcome) = match ended {
            Ok((fingerprint, Attempt::Done { entry, was_made: false })) => {
                let event = Event::StageHit { stage, fingerprint, seconds: entry.made.seconds };
                (Exit::Done, event, Outcome { hits: 1, ..Outcome::default() })
            }
            Ok((fingerprint, Attempt::Done { entry, was_made: true })) => {
                let facts = entry.made.facts;
                let event = Event::StageDone { stage, fingerprint, seconds, unchanged: false, facts };
                (Exit::Done, event, Outcome { ran: 1, ..Outcome::default() })
            }
            Ok((_, Attempt::Failed { error })) => (Exit::Failed, failed(error), failure),
            Ok((_, Attempt::Interrupted)) => {
                let event = Event::StageInterrupted { stage };
                (Exit::Interrupted, event, Outcome { interrupted: true, ..Outcome::default() })
            }
            Ok((_, Attempt::DamagedInput { from, damaged })) => {
                let maker = &self.job.instance(from).name;
                self.observer.event(&Event::Damaged {
                    stage: maker.clone(),
                    file: damaged.file.display().to_string(),
                    aside: damaged.aside.map(|path| path.display().to_string()),
                });
                let error = format!("its input, the result of `{maker}`, is damaged; run `{maker}` again");
                (Exit::DamagedInput, failed(error), failure)
            }
            Err(Refused(exit, error)) => (exit, failed(error), failure),
        };
        self.observer.event(&event);
        (exit, outcome)
    }
}
