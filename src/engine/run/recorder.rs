//! Writes a run to the run database. The database is optional: if it cannot be written, one warning says so.

use super::state::State;
use crate::contract::event::{Event, Observer, Outcome};
use crate::contract::run_id::RunId;
use crate::judge::history::{History, HistoryError, StageRecord};
use crate::judge::job::Job;
use crate::store::entry::Entry;

pub(crate) struct Recorder<'a> {
    job: &'a Job<'a>,
    observer: &'a dyn Observer,
    /// The database and the id of the run, while writing works.
    to: Option<(&'a History, i64)>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn start(job: &'a Job<'a>, id: &RunId, observer: &'a dyn Observer) -> Self {
        let mut recorder = Self { job, observer, to: None };
        if let Some(history) = job.history {
            match history.start_run(id, job.root, &job.pipeline.name, job.pipeline.profile.as_deref()) {
                Ok(run) => recorder.to = Some((history, run)),
                Err(e) => recorder.give_up(&e),
            }
        }
        recorder
    }

    /// Record the trials of a stage with the run that it belongs to.
    pub(crate) fn join(job: &'a Job<'a>, observer: &'a dyn Observer, to: Option<(&'a History, i64)>) -> Self {
        Self { job, observer, to }
    }

    /// The database and the id of the run, while writing works.
    pub(crate) fn to(&self) -> Option<(&'a History, i64)> {
        self.to
    }

    /// Record a stage that ran.
    pub(crate) fn made(&mut self, at: usize, fingerprint: &str, entry: &Entry, seconds: f64) {
        let record = StageRecord { state: "run", seconds, ..hit(self.job, at, fingerprint, entry) };
        self.write(&[record]);
    }

    /// Record the end of the run, with all stages that were hits.
    pub(crate) fn finish(mut self, states: &[State], outcome: &Outcome) {
        self.hits(states, &|_| true);
        if let Some((history, run)) = self.to {
            let _ = history.finish_run(run, outcome);
        }
    }

    /// Record the hits among some stages.
    pub(crate) fn hits(&mut self, states: &[State], counts: &dyn Fn(usize) -> bool) {
        let job = self.job;
        let hits: Vec<StageRecord<'_>> = states
            .iter()
            .enumerate()
            .filter(|(at, _)| counts(*at))
            .filter_map(|(at, state)| match state {
                State::Hit { entry, fingerprint } => Some(hit(job, at, fingerprint, entry)),
                _ => None,
            })
            .collect();
        self.write(&hits);
    }

    fn write(&mut self, records: &[StageRecord<'_>]) {
        let Some((history, run)) = self.to else { return };
        if let Err(e) = history.record(run, records) {
            self.give_up(&e);
        }
    }

    fn give_up(&mut self, error: &HistoryError) {
        self.to = None;
        let text = format!("cannot write to the run database: {error}; the rest of this run will not be recorded");
        self.observer.event(&Event::Warning { stage: None, text });
    }
}

fn hit<'r>(job: &'r Job<'_>, at: usize, fingerprint: &'r str, entry: &'r Entry) -> StageRecord<'r> {
    let instance = job.instance(at);
    let facts = entry.made.facts.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let (name, kind) = (instance.name.as_str(), instance.kind.name);
    StageRecord { name, kind, fingerprint, state: "hit", seconds: entry.made.seconds, facts }
}
