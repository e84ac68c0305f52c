//! What a running stage may use: its inputs, its folders, and the channel on which it reports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;

use super::event::{Event, Observer};
use super::kind::Port;
use super::progress::Progress;
use crate::store::entry::Curve;
use crate::store::partial::Partial;

/// An input as a running stage sees it: a folder of verified files.
#[derive(Debug, Clone)]
pub struct Input {
    /// The instance that made it: `teacher`, `scores[pruned]`.
    pub stage: String,
    /// What tells it from its siblings on a `many` port: `pruned` of `scores[pruned]`.
    pub label: String,
    pub dir: PathBuf,
    /// Content digest of the artifact, hexadecimal blake3.
    pub digest: String,
    /// How long the stage took that made it. It says nothing of what the artifact is: the fingerprint does not depend on it.
    pub seconds: f64,
}

/// What a stage may use while it runs.
pub struct Context<'a> {
    pub(crate) stage: &'a str,
    pub(crate) seed: u64,
    pub(crate) device: &'a str,
    pub(crate) root: &'a Path,
    pub(crate) inputs: BTreeMap<&'static str, Vec<Input>>,
    pub(crate) externals: BTreeMap<String, PathBuf>,
    pub(crate) partial: Partial,
    pub(crate) outputs: &'static [Port],
    pub(crate) stop: &'a AtomicBool,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) facts: BTreeMap<String, f64>,
    pub(crate) curve: Curve,
    pub(crate) device_used: Option<String>,
    pub(crate) seconds: f64,
}

impl Context<'_> {
    /// The instance's name, for messages.
    pub fn stage(&self) -> &str {
        self.stage
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What `--device` said.
    pub fn device(&self) -> &str {
        self.device
    }

    /// The project root, which relative paths start from.
    pub fn root(&self) -> &Path {
        self.root
    }

    /// The folder of the artifact on a single port.
    pub fn input(&self, port: &str) -> anyhow::Result<&Input> {
        self.inputs.get(port).and_then(|all| all.first()).with_context(|| format!("port `{port}` has no input"))
    }

    /// All artifacts on a port, none where an optional port is not wired.
    pub fn inputs(&self, port: &str) -> &[Input] {
        self.inputs.get(port).map_or(&[], Vec::as_slice)
    }

    /// The local path of an external file or folder.
    pub fn external(&self, name: &str) -> anyhow::Result<&Path> {
        self.externals
            .get(name)
            .map(PathBuf::as_path)
            .with_context(|| format!("`{name}` was not declared as an external input"))
    }

    /// A fresh folder to write an output artifact into; committed when the stage returns.
    pub fn output(&self, port: &str) -> anyhow::Result<PathBuf> {
        anyhow::ensure!(self.outputs.iter().any(|p| p.name == port), "the kind declares no output `{port}`");
        let dir = self.partial.out().join(port);
        self.partial.folder(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// A folder that outlives a crash and is handed to the next attempt at the same fingerprint.
    pub fn checkpoints(&self) -> anyhow::Result<PathBuf> {
        let dir = self.partial.work();
        self.partial.folder(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    pub fn progress(&self, progress: Progress) {
        self.observer.event(&Event::Progress { stage: self.stage.into(), progress });
    }

    /// A line worth keeping.
    pub fn note(&self, text: impl Into<String>) {
        self.observer.event(&Event::Note { stage: self.stage.into(), text: below(self.root, &text.into()) });
    }

    pub fn warn(&self, text: impl Into<String>) {
        let text = below(self.root, &text.into());
        self.observer.event(&Event::Warning { stage: Some(self.stage.into()), text });
    }

    /// A number for the history database and the entry: `accuracy`, `samples-per-second`. One that is none, such as a
    /// rate after no time at all, is left out: neither JSON nor the database knows it.
    pub fn fact(&mut self, name: impl Into<String>, value: f64) {
        if value.is_finite() {
            self.facts.insert(name.into(), value);
        }
    }

    /// Numbers measured along the way, for the entry: what varies from run to run has no place in an artifact.
    pub fn curve(&mut self, columns: &[&str], rows: impl IntoIterator<Item = Vec<Option<f64>>>) {
        // JSON knows no number that is none.
        let finite = |row: Vec<Option<f64>>| row.into_iter().map(|x| x.filter(|x| x.is_finite())).collect();
        let columns = columns.iter().map(|&name| name.into()).collect();
        self.curve = Curve { columns, rows: rows.into_iter().map(finite).collect() };
    }

    /// Record what the stage really computed on, for the entry.
    pub fn used_device(&mut self, name: &str) {
        self.device_used = Some(name.into());
    }

    /// What the work took together with the attempts that were cut short before this one, for the entry.
    pub fn took(&mut self, seconds: f64) {
        self.seconds = seconds;
    }

    /// True once the user asked to stop; long work checks it, saves what it has and returns.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What a stage returns when it stopped because it was asked to; its checkpoints stay.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A message with the paths of the project as users write them: relative to its root.
pub(crate) fn below(root: &Path, text: &str) -> String {
    text.replace(&format!("{}/", root.display()), "")
}
