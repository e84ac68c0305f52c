//! Judges each instance as hit, run, may-stop or blocked, and says why: `plan` shows the verdicts and `run` acts on
//! them.

use std::collections::HashMap;

use super::history::Latest;
use super::job::Job;
use super::plan::{Action, Foreseen, Plan, Planned, Request, VERSION};
use crate::contract::context::relative_to_root;
use crate::store::archive::client::{Held, Wanted};
use crate::store::entry::Entry;
use crate::store::error::CacheError;
use crate::store::manifest::{Manifest, Subject};

/// What is known of an upstream artifact while a stage is judged.
pub enum Upstream<'a> {
    Known(&'a Entry),
    /// Its stage runs first; the content may change.
    Pending,
    /// Its stage cannot run.
    Blocked,
}

/// The verdict on one instance.
pub struct Verdict {
    pub action: Action,
    /// Complete only if `fingerprint` is set.
    pub manifest: Manifest,
    pub fingerprint: Option<String>,
    /// Set for a hit.
    pub entry: Option<Entry>,
    /// For a hit that only the archive has: the bytes to fetch.
    pub fetch: Option<u64>,
    /// Why the stage runs, is blocked or is fetched; empty for a hit in the cache.
    pub why: Vec<String>,
    /// Labels of the lines that the manifest lacks so far.
    pub open: Vec<String>,
}

/// The known manifest lines of an instance, and what the others wait for.
struct Known {
    lines: Manifest,
    /// `in.model: teacher will change`.
    pending: Vec<String>,
    /// `teacher is blocked`.
    blocked: Vec<String>,
    /// Labels of the lines that are not known yet.
    open: Vec<String>,
}

impl Job<'_> {
    /// The manifest lines of instance `at`.
    fn known<'e>(&self, at: usize, upstream: &dyn Fn(usize) -> Upstream<'e>) -> Known {
        let instance = self.instance(at);
        let mut lines = instance.own_lines();
        // Ports whose sources run first, with these sources.
        let mut pending: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut blocked: Vec<String> = self.externals.missing(at).iter().map(|m| m.why.clone()).collect();
        let mut open = Vec::new();
        for wire in &instance.inputs {
            let name = self.instance(wire.from).name.as_str();
            let known = upstream(wire.from);
            if !matches!(known, Upstream::Known(_)) {
                open.push(instance.input_label(wire));
            }
            match known {
                Upstream::Known(entry) => {
                    let digest = entry.outputs.get(wire.output).map_or("", |a| a.digest.as_str());
                    lines.push(instance.input_label(wire), digest)
                }
                Upstream::Pending => match pending.iter_mut().find(|(port, _)| *port == wire.port) {
                    Some((_, names)) => names.push(name),
                    None => pending.push((wire.port, vec![name])),
                },
                Upstream::Blocked => blocked.push(format!("{name} is blocked")),
            }
        }
        let mut pending: Vec<String> = pending.iter().map(describe_pending).collect();
        for found in &self.externals.found[at] {
            if let Some(reference) = found.distant() {
                pending.push(format!("needs download: {reference}"));
                open.push(found.content_label());
            }
            match found.lines(self.stats) {
                Ok(found) => lines.0.extend(found.0),
                Err(e) => {
                    blocked.push(relative_to_root(self.root, &format!("cannot read {}: {e}", found.path.display())))
                }
            }
        }
        Known { lines, pending, blocked, open }
    }

    /// Judge one instance, given what is known of its upstream instances.
    pub fn judge<'e>(&self, at: usize, upstream: &dyn Fn(usize) -> Upstream<'e>) -> Result<Verdict, CacheError> {
        let Known { lines: manifest, pending, blocked, open } = self.known(at, upstream);
        let unknown = |action, manifest, why| Verdict {
            action,
            manifest,
            fingerprint: None,
            entry: None,
            fetch: None,
            why,
            open,
        };
        if !blocked.is_empty() {
            return Ok(unknown(Action::Blocked, manifest, blocked));
        }
        if !pending.is_empty() {
            let mut why = self.compared_with_last(at, &manifest, true).unwrap_or_default();
            why.extend(pending);
            return Ok(unknown(Action::MayStop, manifest, why));
        }
        let fingerprint = manifest.fingerprint();
        let mut fetch = None;
        let (entry, why) = match self.cache.entry(&fingerprint)? {
            Some(_) if self.forced[at] => (None, vec!["forced".into()]),
            Some(entry) => (Some(entry), Vec::new()),
            None => match self.in_archive(at, &fingerprint)? {
                Some(held) => {
                    fetch = Some(held.bytes());
                    let damaged = self.cache.take_damaged(&fingerprint);
                    let damaged = damaged.map(|d| relative_to_root(self.root, &d.to_string()));
                    (Some(held.entry), damaged.into_iter().chain(["in the archive".to_string()]).collect())
                }
                None => (None, self.why_missing(at, &manifest, &fingerprint)),
            },
        };
        let action = if entry.is_some() { Action::Hit } else { Action::Run };
        Ok(Verdict { action, manifest, fingerprint: Some(fingerprint), entry, fetch, why, open: Vec::new() })
    }

    /// The result of a stage that the cache lacks, if the archive has it.
    fn in_archive(&self, at: usize, fingerprint: &str) -> Result<Option<Held>, CacheError> {
        let Some(client) = self.archive.filter(|_| !self.forced[at]) else { return Ok(None) };
        client.lookup(self.cache, Wanted { fingerprint, stage: Some(&self.instance(at).name) })
    }

    /// The verdict on every needed instance before anything runs, by index.
    pub fn verdicts(&self) -> Result<Vec<Option<Verdict>>, CacheError> {
        let mut all: Vec<Option<Verdict>> = Vec::with_capacity(self.needed.len());
        let mut first: HashMap<String, usize> = HashMap::new();
        for at in 0..self.needed.len() {
            if !self.needed[at] {
                all.push(None);
                continue;
            }
            let mut verdict = self.judge(at, &|from| match all[from].as_ref().map(|v| (v.action, &v.entry)) {
                Some((Action::Hit, Some(entry))) => Upstream::Known(entry),
                Some((Action::Blocked, _)) => Upstream::Blocked,
                _ => Upstream::Pending,
            })?;
            if let (Action::Run, Some(fingerprint)) = (verdict.action, &verdict.fingerprint) {
                match first.get(fingerprint) {
                    // Compute each result only once.
                    Some(&other) if !self.forced[at] => {
                        verdict.action = Action::MayStop;
                        verdict.why = vec![format!("the same as {}, which runs first", self.instance(other).name)];
                    }
                    _ => drop(first.insert(fingerprint.clone(), at)),
                }
            }
            all.push(Some(verdict));
        }
        Ok(all)
    }

    /// The source of each input of an instance.
    pub(crate) fn sources(&self, at: usize) -> Manifest {
        let instance = self.instance(at);
        let mut sources = Manifest::default();
        for wire in &instance.inputs {
            let from = self.instance(wire.from);
            let one = from.ports.outputs.len() == 1;
            let value = if one { from.name.clone() } else { format!("{}.{}", from.name, wire.output) };
            sources.push(instance.input_label(wire), value);
        }
        sources
    }

    fn why_missing(&self, at: usize, manifest: &Manifest, fingerprint: &str) -> Vec<String> {
        if let Some(damaged) = self.cache.take_damaged(fingerprint) {
            return vec![relative_to_root(self.root, &damaged.to_string())];
        }
        if self.cache.manifest(fingerprint).is_some() {
            return vec!["an object of its result is missing from the cache".into()];
        }
        if self.cache.partial(fingerprint).work().exists() {
            return vec!["continues where it was interrupted".into()];
        }
        match self.compared_with_last(at, manifest, false) {
            Some(changes) if !changes.is_empty() => changes,
            Some(_) => vec!["its result is no longer in the cache".into()],
            None => vec!["no result yet".into()],
        }
    }

    /// What changed since this stage's last result, if the cache still has its manifest.
    fn compared_with_last(&self, at: usize, manifest: &Manifest, inputs_pending: bool) -> Option<Vec<String>> {
        let before = self.cache.manifest(&self.latest(at)?.fingerprint)?;
        if inputs_pending {
            return Some(manifest.without(Subject::Input).explain(&before.without(Subject::Input)));
        }
        Some(manifest.explain(&before))
    }

    /// The last result of an instance before this job.
    pub fn latest(&self, at: usize) -> Option<&Latest> {
        self.latest_of(&self.instance(at).name)
    }

    /// The last result under a name: an instance's, or one of a trial such as `teacher[trial=3]`.
    pub fn latest_of(&self, name: &str) -> Option<&Latest> {
        let read = || self.history.and_then(|h| h.latest(&self.pipeline.name).ok()).unwrap_or_default();
        self.latest.get_or_init(read).get(name)
    }

    /// How long an instance took when it last ran.
    pub(super) fn seconds(&self, at: usize) -> Option<f64> {
        self.latest(at).and_then(|l| l.seconds)
    }

    /// The last duration of every instance in seconds; if it is unknown, the `time` that it needs, or one second.
    pub fn estimates(&self) -> Vec<f64> {
        let known = |at| self.seconds(at).or_else(|| self.instance(at).needs.time.map(|seconds| seconds as f64));
        (0..self.pipeline.instances.len()).map(|at| known(at).unwrap_or(1.0)).collect()
    }

    /// What `run` would do.
    pub fn plan(&self, request: Request) -> Result<Plan, CacheError> {
        let stages = self.verdicts()?.into_iter().enumerate().filter_map(|(at, verdict)| {
            let verdict = verdict?;
            let seconds = match &verdict.entry {
                Some(entry) => Some(entry.made.seconds),
                None => self.seconds(at),
            };
            let instance = self.instance(at);
            let trials = match verdict.action {
                Action::Run | Action::MayStop => self.foresee(at),
                Action::Hit | Action::Blocked => None,
            };
            Some(Planned {
                stage: instance.name.clone(),
                kind: instance.kind.name.into(),
                action: verdict.action,
                why: verdict.why,
                fetch: verdict.fetch,
                seconds: trials.as_ref().and_then(Foreseen::left).or(seconds),
                trials,
                fingerprint: verdict.fingerprint,
                depends_on: verdict.manifest,
                open: verdict.open,
                inputs: self.sources(at),
            })
        });
        Ok(Plan {
            version: VERSION,
            request,
            pipeline: self.pipeline.name.clone(),
            profile: self.pipeline.profile.clone(),
            source: None,
            stages: stages.collect(),
        })
    }
}

fn describe_pending((port, names): &(&str, Vec<&str>)) -> String {
    match names.as_slice() {
        [one] => format!("in.{port}: {one} will change"),
        [first, rest @ ..] => format!("in.{port}: {first} and {} more will change", rest.len()),
        [] => format!("in.{port} will change"),
    }
}
