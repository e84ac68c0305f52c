//! The contract between the engine and what a stage does: `Stage`, its erased form `Kind`, ports, and `Context`.

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

/// The type of an artifact. The engine compares names; what they mean is the stages' business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Type(pub &'static str);

impl Type {
    /// `a corpus`, `an adapter`; what is already plural or a mass takes no article.
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
    /// Exactly one artifact; several sources fan the stage out.
    One,
    /// One artifact or none.
    Optional,
    /// One artifact or more, all taken together.
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

/// A parameter whose value parses but makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The parameter, as written in the file, or the port.
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

/// What [`Input::label`] will say of each input, by port.
pub type Labels<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// An optional port that a parameter's value makes necessary.
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
    /// A folder of which only these files count, where they are there.
    Files(&'static [&'static str]),
}

/// A name that stands for a folder somewhere else, such as `hf:OWNER/NAME`, and how to get it.
#[derive(Clone, Copy)]
pub struct Remote {
    /// Names that start so are fetched before the first stage runs.
    pub prefix: &'static str,
    /// What this machine has of it already, without asking anyone; `fetch` must then give the same. An error where
    /// `fetch` could only fail.
    pub held: fn(&str, What) -> anyhow::Result<Option<Fetched>>,
    pub fetch: fn(&str, What, &dyn Observer) -> anyhow::Result<Fetched>,
}

/// A fetched folder.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub dir: PathBuf,
    /// What pins its content, such as a commit; where nothing does, its files are digested as those of the project are.
    pub identity: Option<String>,
}

/// What a running stage occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Cpu,
    /// The compute device chosen by `--device`; a CPU slot where that is the CPU.
    Device,
}

/// A kind of stage: its parameters are the type itself, read from the pipeline file.
///
/// The doc comments of the type and its fields are the user's documentation.
pub trait Stage: Parameters {
    const KIND: &'static str;
    /// Raise when the same inputs would give another result.
    const VERSION: u32;
    /// The parameter that `use = "kind@VALUE"` sets.
    const MAIN: Option<&'static str> = None;
    const INPUTS: &'static [Port];
    const OUTPUTS: &'static [Port];
    /// Whether the result can depend on the seed.
    const SEEDED: bool = false;
    /// Parameters that change how a result is made and not what it is: kept out of the manifest.
    const OPERATIONAL: &'static [&'static str] = &[];

    fn resource(&self) -> Resource {
        Resource::Cpu
    }

    /// Whether the result depends on the seed with these values.
    fn is_seeded(&self) -> bool {
        Self::SEEDED
    }

    /// Everything that is wrong with the values.
    fn check(&self) -> Vec<Invalid> {
        Vec::new()
    }

    /// Everything that is wrong with the values in view of what is plugged in: the labels of the inputs, by port.
    fn check_inputs(&self, _labels: &Labels) -> Vec<Invalid> {
        Vec::new()
    }

    /// Optional ports that cannot be left out with these values.
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
    /// The parameters in canonical form, defaults filled in, as `name = value` leaves.
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

/// What the engine knows of a kind.
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
pub(super) fn below(root: &Path, text: &str) -> String {
    text.replace(&format!("{}/", root.display()), "")
}
