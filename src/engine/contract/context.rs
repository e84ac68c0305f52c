//! What a running stage may use: its inputs, its folders, and the channel on which it reports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;

use super::event::{Event, Observer};
use super::measured::Measured;
use super::port::Port;
use super::progress::Progress;
use super::trial::{Trial, Trials, Tried};
use crate::store::artifact::Artifact;
use crate::store::entry::{Curve, Sub};
use crate::store::partial::Partial;

/// An input of a running stage: a folder of verified files.
#[derive(Debug, Clone)]
pub struct Input {
    /// The instance that made it: `teacher`, `scores[pruned]`.
    pub stage: String,
    /// Distinguishes the inputs of a `many` port: `pruned` of `scores[pruned]`.
    pub label: String,
    pub dir: PathBuf,
    /// Content digest of the artifact, hexadecimal blake3.
    pub digest: String,
    /// How long the stage that made it took. Not part of the fingerprint: it says nothing about the content.
    pub seconds: f64,
}

/// The interface of a running stage to the engine.
pub struct Context<'a> {
    pub(crate) stage: &'a str,
    pub(crate) seed: u64,
    pub(crate) device: &'a str,
    pub(crate) root: &'a Path,
    pub(crate) inputs: BTreeMap<&'static str, Vec<Input>>,
    pub(crate) externals: BTreeMap<String, PathBuf>,
    pub(crate) partial: Partial,
    pub(crate) outputs: &'a [Port],
    pub(crate) stop: &'a AtomicBool,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) facts: BTreeMap<String, f64>,
    pub(crate) curve: Curve,
    pub(crate) notes: Vec<String>,
    pub(crate) device_used: Option<String>,
    pub(crate) seconds: f64,
    /// None for a stage of a trial.
    pub(crate) trials: Option<&'a dyn Trials>,
    /// The results of its trials.
    pub(crate) subs: Vec<Sub>,
}

impl Context<'_> {
    /// The instance's name, for messages.
    pub fn stage(&self) -> &str {
        self.stage
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The value of `--device`.
    pub fn device(&self) -> &str {
        self.device
    }

    /// The project root; relative paths start from it.
    pub fn root(&self) -> &Path {
        self.root
    }

    /// The folder of the artifact on a single port.
    pub fn input(&self, port: &str) -> anyhow::Result<&Input> {
        self.inputs.get(port).and_then(|all| all.first()).with_context(|| format!("port `{port}` has no input"))
    }

    /// All artifacts on a port; empty if an optional port has no input.
    pub fn inputs(&self, port: &str) -> &[Input] {
        self.inputs.get(port).map_or(&[], Vec::as_slice)
    }

    /// The input ports that have artifacts.
    pub fn input_ports(&self) -> impl Iterator<Item = &str> {
        self.inputs.keys().copied()
    }

    /// The outputs that the stage has to give.
    pub fn output_ports(&self) -> &[Port] {
        self.outputs
    }

    /// The local path of an external file or folder.
    pub fn external(&self, name: &str) -> anyhow::Result<&Path> {
        self.externals
            .get(name)
            .map(PathBuf::as_path)
            .with_context(|| format!("`{name}` was not declared as an external input"))
    }

    /// A new folder for an output artifact; the engine commits it when the stage returns.
    pub fn output(&self, port: &str) -> anyhow::Result<PathBuf> {
        anyhow::ensure!(self.outputs.iter().any(|p| p.name == port), "the stage has no output `{port}`");
        let dir = self.partial.out().join(port);
        self.partial.folder(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// A folder that survives a crash; the next attempt at the same fingerprint gets it again.
    pub fn checkpoints(&self) -> anyhow::Result<PathBuf> {
        let dir = self.partial.work();
        self.partial.folder(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// Report how far the stage is. Figures that are not finite are left out: JSON cannot represent them.
    pub fn progress(&self, mut progress: Progress) {
        for figure in [&mut progress.loss, &mut progress.learning_rate, &mut progress.rate, &mut progress.padding] {
            *figure = figure.filter(|x| x.is_finite());
        }
        self.observer.event(&Event::Progress { stage: self.stage.into(), progress });
    }

    /// Report an evaluation. Values that are not finite are left out: JSON cannot represent them.
    pub fn measured(&self, mut measured: Measured) {
        measured.values.retain(|_, value| value.is_finite());
        measured.epoch = measured.epoch.filter(|x| x.is_finite());
        measured.kept = measured.kept.filter(|kept| kept.value.is_finite() && kept.epoch.is_finite());
        self.observer.event(&Event::Measured { stage: self.stage.into(), measured });
    }

    /// Report a line worth keeping; nothing is wrong.
    pub fn note(&self, text: impl Into<String>) {
        self.observer.event(&Event::Note { stage: self.stage.into(), text: relative_to_root(self.root, &text.into()) });
    }

    /// Report something that may make the result other than the user expects.
    pub fn warn(&self, text: impl Into<String>) {
        let text = relative_to_root(self.root, &text.into());
        self.observer.event(&Event::Warning { stage: Some(self.stage.into()), text });
    }

    /// Record a metric in the history database and the entry: `accuracy`, `samples-per-second`. NaN and infinite
    /// values, such as a rate over zero seconds, are left out: JSON and the database cannot represent them.
    pub fn fact(&mut self, name: impl Into<String>, value: f64) {
        if value.is_finite() {
            self.facts.insert(name.into(), value);
        }
    }

    /// Record values measured while the stage runs. They go into the entry: values that vary between runs do not belong
    /// in artifacts.
    pub fn curve(&mut self, columns: &[&str], rows: impl IntoIterator<Item = Vec<Option<f64>>>) {
        // JSON cannot represent NaN or infinity.
        let finite = |row: Vec<Option<f64>>| row.into_iter().map(|x| x.filter(|x| x.is_finite())).collect();
        let columns = columns.iter().map(|&name| name.into()).collect();
        self.curve = Curve { columns, rows: rows.into_iter().map(finite).collect() };
    }

    /// Keep a line about the result in its entry, which `pipe show` prints. The run itself does not show it; [`Context::note`] does.
    pub fn keep(&mut self, text: impl Into<String>) {
        self.notes.push(relative_to_root(self.root, &text.into()));
    }

    /// Record in the entry which device the stage computed on.
    pub fn used_device(&mut self, name: &str) {
        self.device_used = Some(name.into());
    }

    /// Record in the entry how long the work took, including earlier interrupted attempts.
    pub fn took(&mut self, seconds: f64) {
        self.seconds = seconds;
    }

    /// Run stages of the pipeline with other parameters, and wait for the results. Each has the fingerprint that it
    /// would have if the file had these values, so results are shared with runs of such a file, and a second attempt
    /// finds those of the first. What this stage occupies is free for others meanwhile.
    ///
    /// A trial that fails is a value; the error is [`Interrupted`] if the user asked to stop.
    pub fn sub(&mut self, trials: &[Trial]) -> anyhow::Result<Vec<Tried>> {
        let (tried, subs) = self.trials()?.run(trials)?;
        self.refer(subs);
        Ok(tried)
    }

    /// The same for a series of trials of which `parallel` run at a time. `next` gives each trial from how those ended
    /// that are at least `parallel` before it, whatever the order in which trials end: so the series is the same for
    /// every number of slots. It ends when `next` gives None.
    pub fn series(
        &mut self,
        parallel: usize,
        next: &mut dyn FnMut(&Self, &[Tried]) -> Option<Trial>,
    ) -> anyhow::Result<Vec<Tried>> {
        let me: &Self = self;
        let (tried, subs) = me.trials()?.series(parallel, &mut |known| next(me, known))?;
        self.refer(subs);
        Ok(tried)
    }

    /// The parameters of a stage of the pipeline as the file has them, with defaults; None if there is no such stage.
    pub fn parameters_of(&self, stage: &str) -> anyhow::Result<Option<serde_json::Value>> {
        Ok(self.trials()?.parameters(stage))
    }

    /// The folder of an artifact that a trial gave, with verified files.
    pub fn open(&self, artifact: &Artifact) -> anyhow::Result<PathBuf> {
        self.trials()?.open(artifact)
    }

    fn trials(&self) -> anyhow::Result<&dyn Trials> {
        self.trials.with_context(|| {
            format!(
                "`{}` cannot run trials here: it is part of a trial, runs in a process of its own, or its kind does not say \
                 that it runs any",
                self.stage
            )
        })
    }

    fn refer(&mut self, subs: Vec<Sub>) {
        for sub in subs {
            if !self.subs.contains(&sub) {
                self.subs.push(sub);
            }
        }
    }

    /// True once the user asked to stop. Long work checks it, saves a checkpoint and returns [`Interrupted`].
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The error of a stage that stopped on request; its checkpoints are kept.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Make the absolute paths in a message relative to the project root.
pub(crate) fn relative_to_root(root: &Path, text: &str) -> String {
    text.replace(&format!("{}/", root.display()), "")
}
