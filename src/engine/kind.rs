//! The contract between the engine and the stages: `Stage`, its type-erased form `Kind`, ports, and `Context`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use schemars::Schema;

use super::diagnostic::{Diagnostic, Place};
use super::entry::Curve;
use super::event::{Event, Observer, Progress};
use super::parameters::Parameters;
use super::partial::Partial;
use super::value::Table;

/// The type of an artifact. The engine only compares names; the stages define what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Type(pub &'static str);

impl Type {
    /// `a corpus`, `an adapter`; plural and mass nouns have no article.
    pub fn with_article(self) -> String {
        match self.0.as_bytes().first() {
            _ if self.0.ends_with('s') && !self.0.ends_with("us") => self.0.to_string(),
            Some(b'a' | b'e' | b'i' | b'o' | b'u') => format!("an {}", self.0),
            _ => format!("a {}", self.0),
        }
    }
}

/// A named, typed input or output of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub name: &'static str,
    pub ty: Type,
    pub arity: Arity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// Exactly one artifact; with several sources the stage fans out.
    One,
    /// At most one artifact.
    Optional,
    /// One or more artifacts, taken together.
    Many,
}

impl Port {
    pub const fn one(name: &'static str, ty: Type) -> Self {
        Self { name, ty, arity: Arity::One }
    }

    pub const fn optional(name: &'static str, ty: Type) -> Self {
        Self { name, ty, arity: Arity::Optional }
    }

    pub const fn many(name: &'static str, ty: Type) -> Self {
        Self { name, ty, arity: Arity::Many }
    }
}

/// A parameter whose value parses but is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The parameter as written in the file, or the port.
    pub key: &'static str,
    pub message: String,
    pub help: Option<String>,
}

impl Invalid {
    pub fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { key, message: message.into(), help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The [`Input::label`] of each input, by port.
pub type Labels<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// An optional port that a parameter's value requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub port: &'static str,
    /// The parameter, as written in the file.
    pub key: &'static str,
}

/// A file or folder outside the cache that a result depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// How the stage asks for it: `base`, `sources[0]`.
    pub name: String,
    /// The parameter that holds the path, for messages: `base`, `sources`.
    pub key: &'static str,
    /// As the user wrote it.
    pub path: String,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    File,
    /// A folder: every file directly in it, unless its name starts with a dot.
    Folder,
    /// A folder of which only these files count, if they exist.
    Files(&'static [&'static str]),
}

/// A scheme such as `hf:` whose names stand for folders elsewhere, and how to download them.
#[derive(Clone, Copy)]
pub struct Origin {
    /// Names with this prefix are downloaded before the first stage runs.
    pub prefix: &'static str,
    /// What this machine already has, without network access; `fetch` must then give the same. An error if `fetch`
    /// could only fail.
    pub held: fn(&str, What) -> anyhow::Result<Option<Fetched>>,
    pub fetch: fn(&str, What, &dyn Observer) -> anyhow::Result<Fetched>,
}

/// A downloaded folder.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub dir: PathBuf,
    /// What pins its content, such as a commit. Without it the engine digests the folder's files like those of the
    /// project.
    pub identity: Option<String>,
}

/// What a running stage occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Cpu,
    /// The compute device chosen by `--device`; a CPU slot if that is the CPU.
    Device,
}

/// A kind of stage. The type holds the parameters, as read from the pipeline file.
///
/// The doc comments of the type and its fields are the user's documentation.
pub trait Stage: Parameters {
    const KIND: &'static str;
    /// Raise it when the same inputs give another result.
    const VERSION: u32;
    /// The parameter that `use = "kind@VALUE"` sets.
    const MAIN: Option<&'static str> = None;
    const INPUTS: &'static [Port];
    const OUTPUTS: &'static [Port];
    /// Whether the result can depend on the seed.
    const SEEDED: bool = false;
    /// Parameters that change how a result is made but not the result; the manifest leaves them out.
    const OPERATIONAL: &'static [&'static str] = &[];

    fn resource(&self) -> Resource {
        Resource::Cpu
    }

    /// Whether the result depends on the seed with these parameter values.
    fn is_seeded(&self) -> bool {
        Self::SEEDED
    }

    /// All problems with the parameter values.
    fn check(&self) -> Vec<Invalid> {
        Vec::new()
    }

    /// All problems with the parameter values given the inputs: the labels of the inputs, by port.
    fn check_inputs(&self, _labels: &Labels) -> Vec<Invalid> {
        Vec::new()
    }

    /// Optional ports that these parameter values require.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }

    /// Files and folders outside the cache that the result depends on.
    fn externals(&self) -> Vec<External> {
        Vec::new()
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()>;
}

/// A stage with its type erased.
pub trait Erased: Send + Sync {
    fn resource(&self) -> Resource;
    fn is_seeded(&self) -> bool;
    fn check(&self) -> Vec<Invalid>;
    fn check_inputs(&self, labels: &Labels) -> Vec<Invalid>;
    fn needs(&self) -> Vec<Need>;
    fn externals(&self) -> Vec<External>;
    /// The parameters in canonical form, with defaults, as `name = value` leaves.
    fn parameters(&self) -> anyhow::Result<serde_json::Value>;
    fn run(&self, cx: &mut Context) -> anyhow::Result<()>;
}

impl<S: Stage> Erased for S {
    fn resource(&self) -> Resource {
        Stage::resource(self)
    }

    fn is_seeded(&self) -> bool {
        Stage::is_seeded(self)
    }

    fn check(&self) -> Vec<Invalid> {
        Stage::check(self)
    }

    fn check_inputs(&self, labels: &Labels) -> Vec<Invalid> {
        Stage::check_inputs(self, labels)
    }

    fn needs(&self) -> Vec<Need> {
        Stage::needs(self)
    }

    fn externals(&self) -> Vec<External> {
        Stage::externals(self)
    }

    fn parameters(&self) -> anyhow::Result<serde_json::Value> {
        Parameters::to_json(self)
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        Stage::run(self, cx)
    }
}

type Read = fn(&Table, &str, &Place) -> Result<Box<dyn Erased>, Vec<Diagnostic>>;

/// The engine's description of a kind.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub version: u32,
    pub main: Option<&'static str>,
    pub inputs: &'static [Port],
    pub outputs: &'static [Port],
    pub seeded: bool,
    pub operational: &'static [&'static str],
    /// JSON Schema of the parameters; its descriptions are the doc comments.
    pub schema: fn() -> Schema,
    pub read: Read,
}

impl Kind {
    pub const fn of<S: Stage>() -> Self {
        Self {
            name: S::KIND,
            version: S::VERSION,
            main: S::MAIN,
            inputs: S::INPUTS,
            outputs: S::OUTPUTS,
            seeded: S::SEEDED,
            operational: S::OPERATIONAL,
            schema: S::schema,
            read: |table, owner, place| Ok(Box::new(S::read(table, owner, place)?)),
        }
    }

    pub fn input(&self, name: &str) -> Option<&'static Port> {
        self.inputs.iter().find(|p| p.name == name)
    }

    pub fn output(&self, name: &str) -> Option<&'static Port> {
        self.outputs.iter().find(|p| p.name == name)
    }
}

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
    pub(super) stage: &'a str,
    pub(super) seed: u64,
    pub(super) device: &'a str,
    pub(super) root: &'a Path,
    pub(super) inputs: BTreeMap<&'static str, Vec<Input>>,
    pub(super) externals: BTreeMap<String, PathBuf>,
    pub(super) partial: Partial,
    pub(super) outputs: &'static [Port],
    pub(super) stop: &'a AtomicBool,
    pub(super) observer: &'a dyn Observer,
    pub(super) facts: BTreeMap<String, f64>,
    pub(super) curve: Curve,
    pub(super) device_used: Option<String>,
    pub(super) seconds: f64,
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

    /// The local path of an external file or folder.
    pub fn external(&self, name: &str) -> anyhow::Result<&Path> {
        self.externals
            .get(name)
            .map(PathBuf::as_path)
            .with_context(|| format!("`{name}` was not declared as an external input"))
    }

    /// A new folder for an output artifact; the engine commits it when the stage returns.
    pub fn output(&self, port: &str) -> anyhow::Result<PathBuf> {
        anyhow::ensure!(self.outputs.iter().any(|p| p.name == port), "the kind declares no output `{port}`");
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

    pub fn progress(&self, progress: Progress) {
        self.observer.event(&Event::Progress { stage: self.stage.into(), progress });
    }

    /// Report a line worth keeping.
    pub fn note(&self, text: impl Into<String>) {
        self.observer.event(&Event::Note { stage: self.stage.into(), text: relative_to_root(self.root, &text.into()) });
    }

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

    /// Record in the entry which device the stage computed on.
    pub fn used_device(&mut self, name: &str) {
        self.device_used = Some(name.into());
    }

    /// Record in the entry how long the work took, including earlier interrupted attempts.
    pub fn took(&mut self, seconds: f64) {
        self.seconds = seconds;
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
pub(super) fn relative_to_root(root: &Path, text: &str) -> String {
    text.replace(&format!("{}/", root.display()), "")
}
