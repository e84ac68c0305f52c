//! The context of every command: the kinds of this build, the chosen cache, and the output.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::report::{Color, secret};
use crate::stages::{ORIGINS, gpus};
use pipe_engine::contract::kind::Kind;
use pipe_engine::contract::origin::Origin;
use pipe_engine::declare::resolve::{Pipeline, resolve};
use pipe_engine::judge::project::{Prepared, Project, read_source};
use pipe_engine::store::error::CacheError;

/// The kinds, origins and devices of a program; tests pass toys.
#[derive(Clone, Copy)]
pub struct Build {
    pub kinds: &'static [Kind],
    pub origins: &'static [Origin],
    /// The number of GPUs for a value of `--device`, 0 for the CPU; an error if the device is not available.
    pub gpus: fn(&str) -> anyhow::Result<usize>,
}

impl Build {
    /// A program with these kinds, which need not be the built-in ones, and with the origins and devices of `pipe`.
    pub fn of(kinds: &[Kind]) -> Result<Self, Error> {
        let is_repeated = |at: &usize| kinds[..*at].iter().any(|k| k.name == kinds[*at].name);
        if let Some(at) = (0..kinds.len()).find(is_repeated) {
            return Err(Error::usage(format!("this program has two kinds named `{}`", kinds[at].name))
                .help("rename one of the kinds that are passed to `pipe::main`"));
        }
        // Instances refer to their kinds until the program ends.
        Ok(Self { kinds: kinds.to_vec().leak(), origins: ORIGINS, gpus })
    }
}

pub struct Context<'a> {
    pub build: Build,
    pub cache_dir: Option<PathBuf>,
    /// Whether results are coloured.
    pub color: Color,
    pub out: &'a mut dyn Write,
}

/// A pipeline file and how to read it; shared by every command that takes one.
#[derive(Debug, clap::Args)]
pub struct File {
    /// The pipeline file.
    pub file: PathBuf,
    /// Apply a profile of the file.
    #[arg(long, short, value_name = "NAME")]
    pub profile: Option<String>,
    /// Override one value, as in `--set stage.teacher.epochs=1`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Context<'_> {
    /// Print text about pipelines and runs with its secrets masked, because it may end up in logs.
    pub fn print(&mut self, text: &str) -> Result<(), Error> {
        secret::write(&mut self.out, text).map_err(Error::Output)
    }

    /// Print data for other programs unchanged.
    pub fn print_data(&mut self, text: &str) -> Result<(), Error> {
        secret::write_as_is(&mut self.out, text).map_err(Error::Output)
    }

    /// Print a result as JSON.
    pub fn print_json(&mut self, value: &impl serde::Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Error::failed(format!("cannot write JSON: {e}")))?;
        self.print(&(text + "\n"))
    }

    pub fn resolve(&self, file: &File) -> Result<Pipeline, Error> {
        Ok(resolve(&read_source(&file.file)?, file.profile.as_deref(), &file.set, self.build.kinds)?)
    }

    /// The project of a pipeline file, or of the current folder.
    pub fn project(&self, file: Option<&Path>) -> Result<Project, Error> {
        // The file need not exist: only its folder matters.
        let root = Project::root_of(file.unwrap_or(Path::new("pipeline.toml")));
        Ok(Project::open(&root, self.cache_dir.as_deref())?)
    }

    /// Find what the wanted stages need, for a command that runs nothing and downloads nothing.
    pub fn prepare<'p>(
        &self,
        project: &'p Project,
        pipeline: &'p Pipeline,
        stages: &[String],
        force: &[String],
    ) -> Result<Prepared<'p>, Error> {
        let prepared = project.prepare(pipeline, stages, force, self.build.origins)?;
        prepared.complete()?;
        Ok(prepared)
    }
}

impl From<CacheError> for Error {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Interrupted => Self::Interrupted,
            other => Self::failed(other.to_string()),
        }
    }
}

/// The indices of the instances that a word on the command line selects: an instance, or all instances of a stage.
pub fn named(pipeline: &Pipeline, word: &str) -> Vec<usize> {
    (0..pipeline.instances.len())
        .filter(|&at| pipeline.instances[at].name == word || pipeline.instances[at].stage == word)
        .collect()
}
