//! Runs one stage under its lock and commits the result.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use super::archived::{Archived, Request};
use super::ended::Attempt;
use crate::contract::context::{Context, Input, Interrupted, relative_to_root};
use crate::contract::event::{Event, Observer};
use crate::contract::trial::Trials;
use crate::judge::external::Found;
use crate::judge::job::Job;
use crate::store::entry::Curve;
use crate::store::entry::{Entry, Made};
use crate::store::error::{CacheError, Damaged, make_room};
use crate::store::lease::Lease;
use crate::store::manifest::{Line, Manifest, Subject};
use crate::store::partial::is_folder;

/// What an attempt needs.
pub struct Order<'a> {
    pub at: usize,
    pub manifest: Manifest,
    pub fingerprint: String,
    /// Entries of the upstream instances, by index.
    pub upstream: BTreeMap<usize, Entry>,
    pub forced: bool,
    pub device: &'a str,
    pub stop: &'a AtomicBool,
    pub observer: &'a dyn Observer,
    pub lease: &'a Lease<'a>,
    /// None for a stage of a trial.
    pub(crate) trials: Option<Box<dyn Trials + Send + Sync + 'a>>,
    /// The folder of the files to begin the work with, as if an interrupted attempt had left them.
    pub(crate) begin_with: Option<PathBuf>,
    /// Asked for the result before it is made.
    pub(crate) archived: Option<&'a Archived<'a>>,
}

impl Order<'_> {
    /// The result from the archive, or the one that `make` makes.
    pub(crate) fn fetch_or(&self, make: impl FnOnce() -> Attempt) -> Attempt {
        match self.archived {
            Some(archived) => {
                let Order { at, fingerprint, forced, stop, lease, .. } = self;
                archived.attempt(&Request { at: *at, fingerprint, forced: *forced, stop, lease }, make)
            }
            None => make(),
        }
    }
}

/// Why an attempt ends early.
enum Halt {
    Interrupted,
    Damaged { from: usize, damaged: Damaged },
    Failed(String),
}

impl From<CacheError> for Halt {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Interrupted => Self::Interrupted,
            other => Self::Failed(other.to_string()),
        }
    }
}

pub fn attempt(job: &Job<'_>, order: &Order<'_>) -> Attempt {
    // Without this, a panic outside the stage would leave the scheduler waiting for ever.
    let attempt = catch_unwind(AssertUnwindSafe(|| try_attempt(job, order)));
    let bug = |panic: Box<dyn Any + Send>| Err(Halt::Failed(format!("internal error: {}", panic_text(panic.as_ref()))));
    match attempt.unwrap_or_else(bug) {
        Ok(attempt) => attempt,
        Err(Halt::Interrupted) => Attempt::Interrupted,
        Err(Halt::Damaged { from, damaged }) => Attempt::DamagedInput { from, damaged },
        Err(Halt::Failed(error)) => Attempt::Failed { error: relative_to_root(job.root, &error) },
    }
}

fn try_attempt(job: &Job<'_>, order: &Order<'_>) -> Result<Attempt, Halt> {
    let instance = job.instance(order.at);
    let stopped = || order.stop.load(Ordering::Relaxed);
    let on_wait = || {
        order
            .observer
            .event(&Event::StageWaiting { stage: instance.name.clone(), fingerprint: order.fingerprint.clone() })
    };
    let _lock = job.cache.lock(&order.fingerprint, &stopped, &on_wait)?;
    if !order.forced
        && let Some(entry) = made_meanwhile(job, order)?
    {
        return Ok(Attempt::Done { entry: Box::new(entry), was_made: false });
    }
    let partial = job.cache.partial(&order.fingerprint);
    partial.prepare()?;
    if let Some(files) = &order.begin_with {
        partial.begin_with(files)?;
    }

    let started = Instant::now();
    let mut context = Context {
        stage: &instance.name,
        seed: instance.seed,
        device: order.device,
        root: job.root,
        inputs: open_inputs(job, order)?,
        externals: job.externals.found[order.at].iter().map(|f| (f.name.clone(), f.path.clone())).collect(),
        partial: partial.clone(),
        outputs: &instance.ports.outputs,
        stop: order.stop,
        observer: order.observer,
        facts: BTreeMap::new(),
        curve: Curve::default(),
        device_used: None,
        seconds: 0.0,
        trials: order.trials.as_deref().map(|trials| trials as &dyn Trials),
        notes: Vec::new(),
        subs: Vec::new(),
    };
    match catch_unwind(AssertUnwindSafe(|| instance.work.run(&mut context))) {
        Ok(Ok(())) => {}
        Ok(Err(error)) if error.is::<Interrupted>() => return Err(Halt::Interrupted),
        Ok(Err(error)) => {
            let advice = error.chain().find_map(|e| e.downcast_ref()).map_or("", make_room);
            return Err(Halt::Failed(format!("{error:#}{advice}")));
        }
        Err(panic) => {
            return Err(Halt::Failed(format!("the stage panicked, which is a bug: {}", panic_text(panic.as_ref()))));
        }
    }
    let (facts, curve, device, seconds) = (context.facts, context.curve, context.device_used, context.seconds);
    let (notes, subs) = (context.notes, context.subs);

    let moved = match damaged_input(job, order)? {
        Some(damaged) => Some(damaged),
        None => moved_input(&order.manifest, &job.externals.found[order.at], job),
    };
    if let Some(moved) = moved {
        let reason = format!("{moved} changed while the stage ran");
        order.observer.event(&Event::NotCached { stage: instance.name.clone(), reason: reason.clone() });
        return Err(Halt::Failed(format!("{reason}, so the result was discarded; run again")));
    }
    let mut outputs = BTreeMap::new();
    for port in instance.ports.outputs.iter() {
        let dir = partial.out().join(port.name);
        // Do not follow links: their targets do not belong to the stage.
        if !is_folder(&partial.out()) || !is_folder(&dir) {
            return Err(CacheError::NoOutput { port: port.name.into() }.into());
        }
        outputs.insert(port.name.to_string(), job.cache.measure(&dir, port.ty.0)?);
    }
    let made = Made {
        at: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        seconds: started.elapsed().as_secs_f64().max(seconds),
        device: device.unwrap_or_else(|| "cpu".into()),
        version: env!("CARGO_PKG_VERSION").into(),
        facts,
        curve,
        notes,
        subs,
    };
    let entry = Entry { kind: instance.kind.name.into(), manifest: order.manifest.clone(), outputs, made };
    let shared = job.cache.shared()?;
    job.cache.commit(&order.fingerprint, &entry)?;
    order.lease.keep(std::slice::from_ref(&order.fingerprint), &shared)?;
    drop(shared);
    partial.clear();
    Ok(Attempt::Done { entry: Box::new(entry), was_made: true })
}

/// The result if another process made it meanwhile, leased for this one.
fn made_meanwhile(job: &Job<'_>, order: &Order<'_>) -> Result<Option<Entry>, CacheError> {
    let shared = job.cache.shared()?;
    let entry = job.cache.entry(&order.fingerprint)?;
    if entry.is_some() {
        order.lease.keep(std::slice::from_ref(&order.fingerprint), &shared)?;
    }
    Ok(entry)
}

/// Verify every input artifact and create its view.
fn open_inputs(job: &Job<'_>, order: &Order<'_>) -> Result<BTreeMap<&'static str, Vec<Input>>, Halt> {
    let mut inputs: BTreeMap<&'static str, Vec<Input>> = BTreeMap::new();
    for wire in &job.instance(order.at).inputs {
        let made = order.upstream.get(&wire.from);
        let artifact = made.and_then(|e| Some((e.outputs.get(wire.output)?, e.made.seconds)));
        let stage = &job.instance(wire.from).name;
        let Some((artifact, seconds)) = artifact else {
            return Err(Halt::Failed(format!("the result of `{stage}` has no output `{}`", wire.output)));
        };
        let dir = match job.cache.view(artifact) {
            Ok(dir) => dir,
            Err(CacheError::Damaged(damaged)) => return Err(Halt::Damaged { from: wire.from, damaged }),
            Err(other) => return Err(other.into()),
        };
        let (stage, label, digest) = (stage.clone(), wire.label.clone(), artifact.digest.clone());
        let input = Input { stage, label, dir, digest, seconds };
        inputs.entry(wire.port).or_default().push(input);
    }
    Ok(inputs)
}

/// The first input artifact that changed: the stage or another process wrote into the folder.
fn damaged_input(job: &Job<'_>, order: &Order<'_>) -> Result<Option<String>, CacheError> {
    for wire in &job.instance(order.at).inputs {
        let artifact = order.upstream.get(&wire.from).and_then(|e| e.outputs.get(wire.output));
        for file in artifact.into_iter().flat_map(|a| &a.files) {
            match job.cache.verify(&file.digest) {
                Err(CacheError::Damaged(_)) => {
                    return Ok(Some(format!("{} of `{}`", file.path, job.instance(wire.from).name)));
                }
                other => other?,
            }
        }
    }
    Ok(None)
}

/// The first external input whose content differs from the manifest, or that disappeared.
fn moved_input(manifest: &Manifest, externals: &[Found], job: &Job<'_>) -> Option<String> {
    let mut now = Manifest::default();
    for found in externals {
        match found.lines(job.stats) {
            Ok(lines) => now.0.extend(lines.0),
            Err(_) => return Some(relative_to_root(job.root, &found.path.display().to_string())),
        }
    }
    let is_external = |l: &&Line| matches!(l.what, Subject::File | Subject::Content);
    let differs = now.0.iter().find(|l| !manifest.0.contains(l));
    let is_gone = || manifest.0.iter().filter(is_external).find(|l| !now.0.contains(l));
    differs.or_else(is_gone).map(|line| line.label.trim_start_matches("file ").to_string())
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
