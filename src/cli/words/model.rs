//! A model on the command line: a path, the output of a stage, or a name on the Hub.

use std::path::{Path, PathBuf};

use super::folders::folders;
use crate::cli::context::{Context, File};
use crate::error::Error;
use crate::stages::shared::inspector;
use pipe_engine::contract::kind::What;

/// How to read the pipeline file of FILE:STAGE.
#[derive(Debug, clap::Args)]
pub struct Definition {
    /// Profile of the pipeline file in FILE:STAGE.
    #[arg(long, short, value_name = "NAME")]
    profile: Option<String>,
    /// Override a value of the pipeline file in FILE:STAGE; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// What a command accepts.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Accepted types of artifact, in the order of preference.
    pub types: &'static [&'static str],
    /// What to write, for the error that there is no such model.
    pub help: &'static str,
}

impl Definition {
    /// The path that `word` names; an existing path is taken as it is. Nothing is downloaded.
    pub fn find(&self, cx: &Context<'_>, word: &str, wanted: Wanted) -> Result<PathBuf, Error> {
        self.find_as(cx, ("model", word), wanted)
    }

    /// The same for something else than a model; `what` is its name.
    pub fn find_as(&self, cx: &Context<'_>, (what, word): (&str, &str), wanted: Wanted) -> Result<PathBuf, Error> {
        let path = Path::new(word);
        if path.exists() {
            return Ok(path.to_path_buf());
        }
        if let Some(origin) = cx.build.origins.iter().find(|origin| word.starts_with(origin.prefix)) {
            let held = (origin.held)(word, What::Folder).map_err(|e| Error::usage(format!("{e:#}")))?;
            return held.map(|found| found.dir).ok_or_else(|| {
                Error::usage(format!("`{word}` is not on this machine"))
                    .help("`pipe run` downloads the models that a pipeline names; this command downloads nothing")
            });
        }
        match word.rsplit_once(':') {
            Some((file, stage)) if Path::new(file).is_file() => self.made_by(cx, file, stage, wanted),
            _ => Err(Error::usage(format!("there is no {what} `{word}`")).help(wanted.help)),
        }
    }

    fn made_by(&self, cx: &Context<'_>, file: &str, stage: &str, wanted: Wanted) -> Result<PathBuf, Error> {
        let file = File { file: file.into(), profile: self.profile.clone(), set: self.set.clone() };
        for ty in wanted.types {
            let mut found = folders(cx, &file, stage, Some(ty))?;
            match (found.pop(), found.is_empty()) {
                (Some(dir), true) => return Ok(dir),
                (Some(_), false) => {
                    return Err(Error::usage(format!("`{stage}` has several instances"))
                        .help("name one of them; `pipe show` lists the instances"));
                }
                (None, _) => {}
            }
        }
        Err(Error::usage(format!("`{stage}` has no output of type {}", wanted.types.join(" or "))))
    }
}

/// What a path contains; a usage error if it does not belong to a model.
pub fn recognise(path: &Path) -> Result<inspector::What, Error> {
    inspector::What::of(path).ok_or_else(|| {
        let text = if path.is_dir() {
            format!("{} is not a model: it has no config.json, weights, adapter or tokenizer", path.display())
        } else {
            format!(
                "{} does not look like a model file (expected weights, config.json or tokenizer.json)",
                path.display()
            )
        };
        Error::usage(text).help("`pipe show FILE STAGE` and `pipe metrics` show what other artifacts hold")
    })
}
