//! Hit, run or blocked, and why: the one judgement that `plan` shows and `run` acts on.

use std::path::Path;

use serde::Serialize;

use super::cache::{Cache, CacheError, Entry};
use super::digest::StatCache;
use super::external::Found;
use super::graph::Graph;
use super::history::History;
use super::manifest::Manifest;
use super::resolve::{Instance, Pipeline};

/// Everything a pipeline is judged and run with.
pub struct Job<'a> {
    pub pipeline: &'a Pipeline,
    pub graph: &'a Graph,
    pub cache: &'a Cache,
    pub stats: &'a StatCache,
    /// By instance.
    pub externals: &'a [Vec<Found>],
    pub history: Option<&'a History>,
    pub root: &'a Path,
    /// Which instances are wanted, by index.
    pub needed: &'a [bool],
    /// Which instances run whatever the cache has, by index.
    pub forced: &'a [bool],
}

/// What is known of an upstream artifact when a stage is judged.
pub enum Upstream<'a> {
    Known(&'a Entry),
    /// Its stage runs first; its content may or may not change.
    Pending,
}

/// The judgement on one instance.
pub struct Verdict {
    /// Complete only if nothing upstream is pending.
    pub manifest: Manifest,
    pub fingerprint: Option<String>,
    pub entry: Option<Entry>,
    /// Why it runs; empty for a hit.
    pub why: Vec<String>,
}

impl Job<'_> {
    pub fn instance(&self, at: usize) -> &Instance {
        &self.pipeline.instances[at]
    }

    /// The lines that instance `at` depends on.
    fn manifest<'e>(
        &self,
        at: usize,
        upstream: &dyn Fn(usize) -> Upstream<'e>,
    ) -> Result<(Manifest, Vec<String>), CacheError> {
        let instance = self.instance(at);
        let mut lines = instance.own_lines();
        // Ports with sources that run first, and those sources.
        let mut pending: Vec<(&str, Vec<&str>)> = Vec::new();
        for wire in &instance.inputs {
            let label = instance.input_label(wire);
            match upstream(wire.from) {
                Upstream::Known(entry) => {
                    lines.push(label, entry.outputs.get(wire.output).map_or("", |a| a.digest.as_str()))
                }
                Upstream::Pending => {
                    let name = self.instance(wire.from).name.as_str();
                    match pending.iter_mut().find(|(port, _)| *port == wire.port) {
                        Some((_, names)) => names.push(name),
                        None => pending.push((wire.port, vec![name])),
                    }
                }
            }
        }
        for found in &self.externals[at] {
            lines.0.extend(found.lines(self.stats).map_err(|e| CacheError::io("read", &found.path, e))?.0);
        }
        let said = |(port, names): &(&str, Vec<&str>)| match names.as_slice() {
            [one] => format!("in.{port}: {one} will change"),
            [first, rest @ ..] => format!("in.{port}: {first} and {} more will change", rest.len()),
            [] => format!("in.{port} will change"),
        };
        Ok((lines, pending.iter().map(said).collect()))
    }

    /// Judge one instance, given what is known of those above it.
    pub fn judge<'e>(&self, at: usize, upstream: &dyn Fn(usize) -> Upstream<'e>) -> Result<Verdict, CacheError> {
        let (manifest, pending) = self.manifest(at, upstream)?;
        if !pending.is_empty() {
            let mut why = self.compared_with_last(at, &manifest, true).unwrap_or_default();
            why.extend(pending);
            return Ok(Verdict { manifest, fingerprint: None, entry: None, why });
        }
        let fingerprint = manifest.fingerprint();
        let entry = self.cache.entry(&fingerprint)?;
        let (entry, why) = match entry {
            Some(_) if self.forced[at] => (None, vec!["forced".into()]),
            Some(entry) => (Some(entry), Vec::new()),
            None => (None, self.why_missing(at, &manifest, &fingerprint)),
        };
        Ok(Verdict { manifest, fingerprint: Some(fingerprint), entry, why })
    }

    fn why_missing(&self, at: usize, manifest: &Manifest, fingerprint: &str) -> Vec<String> {
        if self.cache.manifest(fingerprint).is_some() {
            return vec!["an object of its result is missing from the cache".into()];
        }
        if self.cache.partial_path(fingerprint).join("work").exists() {
            return vec!["continues where it was interrupted".into()];
        }
        match self.compared_with_last(at, manifest, false) {
            Some(changes) if !changes.is_empty() => changes,
            Some(_) => vec!["its result is no longer in the cache".into()],
            None => vec!["no result yet".into()],
        }
    }

    /// What changed since this stage's last result, if that is remembered.
    fn compared_with_last(&self, at: usize, manifest: &Manifest, inputs_pending: bool) -> Option<Vec<String>> {
        let last = self.history?.last_fingerprint(&self.pipeline.name, &self.instance(at).name)?;
        let mut before = self.cache.manifest(&last)?;
        if inputs_pending {
            before.0.retain(|l| !l.label.starts_with("in."));
            let mut now = manifest.clone();
            now.0.retain(|l| !l.label.starts_with("in."));
            return Some(now.explain(&before));
        }
        Some(manifest.explain(&before))
    }

    /// What the last result took, or the cached one.
    fn seconds(&self, at: usize) -> Option<f64> {
        self.history.and_then(|h| h.seconds(&self.pipeline.name, &self.instance(at).name))
    }

    /// Recorded seconds of every instance; one second where nothing is known.
    pub fn estimates(&self) -> Vec<f64> {
        (0..self.pipeline.instances.len()).map(|at| self.seconds(at).unwrap_or(1.0)).collect()
    }

    /// What `run` would do, without doing it.
    pub fn plan(&self) -> Result<Plan, CacheError> {
        let mut entries: Vec<Option<Entry>> = vec![None; self.pipeline.instances.len()];
        let mut stages = Vec::new();
        for at in (0..entries.len()).filter(|&at| self.needed[at]) {
            let verdict = self.judge(at, &|from| entries[from].as_ref().map_or(Upstream::Pending, Upstream::Known))?;
            let instance = self.instance(at);
            let (action, seconds) = match (&verdict.entry, &verdict.fingerprint) {
                (Some(entry), _) => (Action::Hit, Some(entry.made.seconds)),
                (None, Some(_)) => (Action::Run, self.seconds(at)),
                (None, None) => (Action::MayStop, self.seconds(at)),
            };
            stages.push(Planned {
                stage: instance.name.clone(),
                kind: instance.kind.name.into(),
                action,
                why: verdict.why,
                seconds,
            });
            entries[at] = verdict.entry;
        }
        Ok(Plan { pipeline: self.pipeline.name.clone(), profile: self.pipeline.profile.clone(), stages })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The result is in the cache.
    Hit,
    Run,
    /// Runs unless what is above it comes out as it was before.
    MayStop,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Planned {
    pub stage: String,
    pub kind: String,
    pub action: Action,
    pub why: Vec<String>,
    /// What it took when it was last made.
    pub seconds: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    pub pipeline: String,
    pub profile: Option<String>,
    pub stages: Vec<Planned>,
}

impl Plan {
    pub fn hits(&self) -> usize {
        self.stages.iter().filter(|s| s.action == Action::Hit).count()
    }

    pub fn runs(&self) -> usize {
        self.stages.len() - self.hits()
    }

    /// The sum of what the stages to run took last, if any of them was ever timed.
    pub fn seconds(&self) -> Option<f64> {
        let timed: Vec<f64> =
            self.stages.iter().filter(|s| s.action != Action::Hit).filter_map(|s| s.seconds).collect();
        (!timed.is_empty()).then(|| timed.iter().sum())
    }
}
