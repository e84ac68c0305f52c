//! The contract between the engine and the stages: `Stage`, its type-erased form `Kind`, ports, and `Context`.

use std::collections::BTreeMap;

use schemars::Schema;

use super::context::Context;
use super::needs::Needs;
pub use super::port::{Arity, Extra, MorePorts, Port, Ports, Type};
use super::trial::{Target, Template};
use crate::text::diagnostic::{Diagnostic, Place};
use crate::text::other_names::{OtherName, answer};
use crate::text::parameters::Parameters;
use crate::text::value::Table;

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

/// The [`Input::label`](super::context::Input::label) of each input, by port.
pub type Labels<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// An optional port that a parameter's value requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub port: &'static str,
    /// The parameter, as written in the file.
    pub key: &'static str,
}

/// A parameter that can take its value from the stages that read this stage's outputs, so that a change of theirs changes
/// both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FromReaders {
    /// The parameter, as written in the file.
    pub key: &'static str,
    /// The value that asks for it.
    pub word: &'static str,
    /// The ports of the readers that count, each with the parameter of theirs that holds the value.
    pub of: &'static [(&'static str, &'static str)],
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
    /// A file; or a folder, of which every file at any depth counts unless a name on the way begins with a dot; or a
    /// pattern such as `data/*.csv`.
    Tree,
}

/// The two usual answers to what a running stage occupies.
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
    /// Whether stages can have more ports than these.
    const MORE_PORTS: MorePorts = MorePorts::Never;
    /// Whether stages run trials of other stages: [`Stage::templates`] and [`Context::sub`].
    const RUNS_TRIALS: bool = false;
    /// Whether the result can depend on the seed.
    const SEEDED: bool = false;
    /// Parameters that change how a result is made but not the result; the manifest leaves them out.
    const OPERATIONAL: &'static [&'static str] = &[];
    /// What other programs call the parameters, so that their names are answered with ours.
    const OTHER_NAMES: &'static [OtherName] = &[];

    /// Parameters that can take their value from the stages that read the outputs. The pipeline is read as if the file
    /// had that value.
    const FROM_READERS: &'static [FromReaders] = &[];

    fn resource(&self) -> Resource {
        Resource::Cpu
    }

    /// What it occupies while it runs, as amounts; a pipeline file can set others for a stage.
    fn resources(&self) -> Needs {
        match self.resource() {
            Resource::Cpu => Needs::CPU,
            Resource::Device => Needs::DEVICE,
        }
    }

    /// Whether the result depends on the seed with these parameter values.
    fn is_seeded(&self) -> bool {
        Self::SEEDED
    }

    /// The ports that these parameter values add; asked for only if `MORE_PORTS` says that they can.
    fn ports(&self) -> Extra {
        Extra::default()
    }

    /// The stages that it runs in trials; asked for only if `RUNS_TRIALS` is set.
    fn templates(&self) -> Vec<Template> {
        Vec::new()
    }

    /// How many trials it would run, as its [`Stage::run`] would choose them; None if it cannot tell. The context has the
    /// results that the cache has, and ends trials with an error at the first that it lacks. Asked for only if `RUNS_TRIALS`
    /// is set.
    fn foresee(&self, _cx: &mut Context) -> Option<usize> {
        None
    }

    /// All problems with what a template refers to; asked for only if `RUNS_TRIALS` is set.
    fn check_target(&self, _target: &Target) -> Vec<Invalid> {
        Vec::new()
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
    fn resources(&self) -> Needs;
    fn is_seeded(&self) -> bool;
    fn ports(&self) -> Extra;
    fn templates(&self) -> Vec<Template>;
    fn foresee(&self, cx: &mut Context) -> Option<usize>;
    fn check_target(&self, target: &Target) -> Vec<Invalid>;
    fn check(&self) -> Vec<Invalid>;
    fn check_inputs(&self, labels: &Labels) -> Vec<Invalid>;
    fn needs(&self) -> Vec<Need>;
    fn externals(&self) -> Vec<External>;
    /// The parameters in canonical form, with defaults, as `name = value` leaves.
    fn parameters(&self) -> anyhow::Result<serde_json::Value>;
    fn run(&self, cx: &mut Context) -> anyhow::Result<()>;
}

impl<S: Stage> Erased for S {
    fn resources(&self) -> Needs {
        Stage::resources(self)
    }

    fn is_seeded(&self) -> bool {
        Stage::is_seeded(self)
    }

    fn ports(&self) -> Extra {
        Stage::ports(self)
    }

    fn templates(&self) -> Vec<Template> {
        Stage::templates(self)
    }

    fn foresee(&self, cx: &mut Context) -> Option<usize> {
        Stage::foresee(self, cx)
    }

    fn check_target(&self, target: &Target) -> Vec<Invalid> {
        Stage::check_target(self, target)
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
    pub more_ports: MorePorts,
    pub runs_trials: bool,
    pub seeded: bool,
    pub operational: &'static [&'static str],
    pub from_readers: &'static [FromReaders],
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
            more_ports: S::MORE_PORTS,
            runs_trials: S::RUNS_TRIALS,
            seeded: S::SEEDED,
            operational: S::OPERATIONAL,
            from_readers: S::FROM_READERS,
            schema: S::schema,
            read: |table, owner, place| {
                let (table, mut problems) = answer(table, owner, &S::keys(), S::OTHER_NAMES);
                match S::read(&table, owner, place) {
                    Ok(stage) if problems.is_empty() => Ok(Box::new(stage)),
                    read => {
                        problems.extend(read.err().into_iter().flatten());
                        Err(problems)
                    }
                }
            },
        }
    }

    /// The ports that all stages of the kind have.
    pub fn ports(&self) -> Ports {
        Ports::new(self.inputs, self.outputs)
    }
}
