//! What every command works with: the kinds of this build, the chosen cache, and where results go.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::engine::cache::CacheError;
use crate::engine::kind::{Kind, Origin};
use crate::engine::project::{Prepared, Project, read_source};
use crate::engine::resolve::{Pipeline, resolve};
use crate::error::Error;
use crate::report::{Color, secret};

/// What a build of `pipe` can do; `main` hands it in, tests hand in toys.
#[derive(Clone, Copy)]
pub struct Build {
    pub kinds: &'static [Kind],
    pub origins: &'static [Origin],
    /// How many GPUs a `--device` gives, 0 for the CPU; an error where it cannot be had.
    pub gpus: fn(&str) -> anyhow::Result<usize>,
}

pub struct Context<'a> {
    pub build: Build,
    pub cache_dir: Option<PathBuf>,
    /// Of the results.
    pub color: Color,
    pub out: &'a mut dyn Write,
}

/// A pipeline file and how to read it; the same for every command that takes one.
#[derive(Debug, clap::Args)]
pub struct File {
    /// The pipeline file.
    pub file: PathBuf,
    /// Lay a profile of the file over it.
    #[arg(long, short, value_name = "NAME")]
    pub profile: Option<String>,
    /// Set one value, as in `--set stage.teacher.epochs=1`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Context<'_> {
    /// Write a result that tells of pipelines and runs: it ends up in logs, so it keeps no secret.
    pub fn print(&mut self, text: &str) -> Result<(), Error> {
        secret::write(&mut self.out, text).map_err(Error::Output)
    }

    /// Write a result that other programs read on: not a letter is changed.
    pub fn print_data(&mut self, text: &str) -> Result<(), Error> {
        secret::write_as_is(&mut self.out, text).map_err(Error::Output)
    }

    /// Write a result as JSON.
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

    /// Find what the wanted stages need, for a command that looks and does not run: nothing is fetched.
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

/// The indices of the instances that a word on the command line means: one, or all of a stage.
pub fn named(pipeline: &Pipeline, word: &str) -> Vec<usize> {
    (0..pipeline.instances.len())
        .filter(|&at| pipeline.instances[at].name == word || pipeline.instances[at].stage == word)
        .collect()
}
