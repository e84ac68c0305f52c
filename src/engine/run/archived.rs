//! The archive before and behind the attempts of a run: what it has is fetched instead of made, what was made is
//! uploaded in the background.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::ended::Attempt;
use super::uploader::{Parcel, Uploader};
use crate::contract::context::relative_to_root;
use crate::contract::event::{Event, Observer};
use crate::contract::progress::Progress;
use crate::judge::job::Job;
use crate::store::archive::client::{Client, Wanted};
use crate::store::archive::outbox::Outbox;
use crate::store::entry::Entry;
use crate::store::error::CacheError;
use crate::store::lease::Lease;

/// The archive of a run; without one it does nothing.
pub(crate) struct Archived<'a> {
    job: &'a Job<'a>,
    observer: &'a dyn Observer,
    with: Option<Arc<With<'a>>>,
}

/// The result that an attempt wants.
pub(crate) struct Request<'a> {
    /// Index of the instance.
    pub(crate) at: usize,
    pub(crate) fingerprint: &'a String,
    pub(crate) forced: bool,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) lease: &'a Lease<'a>,
}

struct With<'a> {
    client: &'a Arc<Client>,
    outbox: Arc<Outbox>,
    /// Started with the first delivery.
    uploader: Mutex<Option<Uploader>>,
    /// Results that this run has fetched. If the disk damages one, the stage runs.
    fetched: Mutex<HashSet<String>>,
}

impl<'a> Archived<'a> {
    /// Also continues the deliveries that earlier runs did not finish.
    pub(crate) fn start(job: &'a Job<'a>, observer: &'a dyn Observer) -> Self {
        let Some(client) = job.archive else { return Self { job, observer, with: None } };
        let outbox = Arc::new(client.outbox(job.cache));
        let with = With { client, outbox, uploader: Mutex::default(), fetched: Mutex::default() };
        if client.writes() {
            match with.outbox.due(job.cache) {
                Ok(due) => due.into_iter().for_each(|fingerprint| with.send(job, Parcel { fingerprint, stage: None })),
                Err(e) => client.warn(None, format!("cannot read the outbox of the archive: {e}")),
            }
        }
        Self { job, observer, with: Some(Arc::new(with)) }
    }

    /// The same archive for the trials of a stage; `finish` is for the whole run.
    pub(crate) fn of_trials<'t>(&self, job: &'t Job<'t>, observer: &'t dyn Observer) -> Archived<'t>
    where
        'a: 't,
    {
        Archived { job, observer, with: self.with.clone() }
    }

    /// Make a result, or fetch it if the archive has it.
    pub(crate) fn attempt(&self, request: &Request<'_>, make: impl FnOnce() -> Attempt) -> Attempt {
        let Some(with) = &self.with else { return make() };
        // A bug in the archive must not leave the scheduler waiting for ever.
        let fetched = catch_unwind(AssertUnwindSafe(|| self.fetch(with, request))).unwrap_or(Ok(None));
        let ended = match fetched {
            Ok(Some(entry)) => Attempt::Done { entry: Box::new(entry), was_made: false },
            Err(CacheError::Interrupted) => Attempt::Interrupted,
            Err(e) => Attempt::Failed { error: relative_to_root(self.job.root, &e.to_string()) },
            Ok(None) => {
                self.report();
                self.make(with, request, make)
            }
        };
        self.report();
        ended
    }

    fn make(&self, with: &With<'_>, request: &Request<'_>, make: impl FnOnce() -> Attempt) -> Attempt {
        if with.client.writes()
            && let Err(e) = with.outbox.expect(request.fingerprint)
        {
            with.client.warn(None, format!("cannot note what the archive has to get: {e}"));
        }
        let ended = make();
        if let Attempt::Done { was_made: true, .. } = &ended
            && with.client.writes()
        {
            let stage = Some(self.job.instance(request.at).name.clone());
            with.send(self.job, Parcel { fingerprint: request.fingerprint.clone(), stage });
        }
        ended
    }

    /// The result from the archive, now in the cache and leased; None if the stage has to run.
    fn fetch(&self, with: &With<'_>, request: &Request<'_>) -> Result<Option<Entry>, CacheError> {
        let (job, stage) = (self.job, self.job.instance(request.at).name.as_str());
        let wanted = Wanted { fingerprint: request.fingerprint, stage: Some(stage) };
        if request.forced || lock(&with.fetched).contains(request.fingerprint) {
            return Ok(None);
        }
        let Some(held) = with.client.lookup(job.cache, wanted)? else { return Ok(None) };
        let stopped = || request.stop.load(Ordering::Relaxed);
        let on_wait = || {
            let fingerprint = request.fingerprint.clone();
            self.observer.event(&Event::StageWaiting { stage: stage.into(), fingerprint });
        };
        let _lock = job.cache.lock(request.fingerprint, &stopped, &on_wait)?;
        if job.cache.entry(request.fingerprint)?.is_some() {
            // Another process brought it meanwhile; the attempt takes it from the cache.
            return Ok(None);
        }
        let total = held.bytes();
        let progress = |done| {
            let progress = Progress { done, total, unit: "byte".into(), ..Progress::default() };
            self.observer.event(&Event::Progress { stage: stage.into(), progress });
        };
        let Some(shared) = with.client.fetch(job.cache, wanted, &held, &stopped, &progress)? else { return Ok(None) };
        request.lease.keep(std::slice::from_ref(request.fingerprint), &shared)?;
        lock(&with.fetched).insert(request.fingerprint.clone());
        Ok(Some(held.entry))
    }

    /// Wait for the uploads, but not for ever and not once the user stops the run.
    pub(crate) fn finish(&self, stop: &AtomicBool) {
        let Some(with) = &self.with else { return };
        let uploader = lock(&with.uploader).take();
        let left = uploader.map_or(0, |u| u.drain(with.client.longest_wait(), &|| stop.load(Ordering::Relaxed)));
        if left > 0 && !with.client.has_lost_writing() {
            let what = if left == 1 { "1 result is".into() } else { format!("{left} results are") };
            let text = format!(
                "{what} not in the archive {} yet; the next run or `pipe push` delivers the rest",
                with.client.name()
            );
            with.client.warn(None, text);
        }
        self.report();
    }

    /// Report what the archive gave reason to warn about.
    fn report(&self) {
        for warning in self.with.iter().flat_map(|with| with.client.take_warnings()) {
            let text = relative_to_root(self.job.root, &warning.text);
            self.observer.event(&Event::Warning { stage: warning.stage, text });
        }
    }
}

impl With<'_> {
    fn send(&self, job: &Job<'_>, parcel: Parcel) {
        let mut uploader = lock(&self.uploader);
        if uploader.is_none() {
            match Uploader::start(self.client.clone(), job.cache, self.outbox.clone()) {
                Ok(started) => *uploader = Some(started),
                Err(e) => self.client.warn(None, format!("cannot upload to the archive: {e}")),
            }
        }
        if let Some(uploader) = &*uploader {
            uploader.send(parcel);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
