//! The archive behind the cache: its options, and what the commands that use it share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use crate::cli::context::{Context, File};
use crate::error::Error;
use crate::report::{Color, color, format, secret};
use pipe_engine::judge::project::Project;
use pipe_engine::judge::verdict::Verdict;
use pipe_engine::store::archive::address;
use pipe_engine::store::archive::client::Client;
use pipe_engine::store::archive::seam::Mode;

/// The archive to use; shared by every command that can.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// A folder that several machines share: results that it has are fetched, new ones are stored [default:
    /// $PIPE_ARCHIVE].
    #[arg(long, value_name = "FOLDER")]
    archive: Option<String>,
    /// Whether results are also stored in the archive [default: $PIPE_ARCHIVE_MODE, else read-write].
    #[arg(long, value_enum, value_name = "MODE")]
    archive_mode: Option<Access>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Access {
    Read,
    ReadWrite,
}

/// A variable of the environment; an empty one counts as unset.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Options {
    /// Put the archive, if there is one, behind the cache of a project. `wait`: how long a run waits for its uploads.
    pub fn attach(&self, project: &mut Project, wait: Option<Duration>) -> Result<(), Error> {
        let Some(address) = self.archive.clone().or_else(|| variable("PIPE_ARCHIVE")) else { return Ok(()) };
        let disk = project.cache.disk().clone();
        let archive = address::open(&address, project.cache.dir(), disk).map_err(|e| Error::usage(e.to_string()))?;
        let client = Client::new(archive, self.mode()?);
        project.archive = Some(Arc::new(match wait {
            Some(wait) => client.wait(wait),
            None => client,
        }));
        Ok(())
    }

    fn mode(&self) -> Result<Mode, Error> {
        let access = match (self.archive_mode, variable("PIPE_ARCHIVE_MODE")) {
            (Some(access), _) => access,
            (None, None) => Access::ReadWrite,
            (None, Some(text)) => Access::from_str(&text, false).map_err(|_| {
                Error::usage(format!("$PIPE_ARCHIVE_MODE is `{text}`; it can be `read` or `read-write`"))
            })?,
        };
        Ok(match access {
            Access::Read => Mode::Read,
            Access::ReadWrite => Mode::ReadWrite,
        })
    }

    /// The archive, for commands that do nothing without one.
    pub fn required(&self, project: &mut Project) -> Result<Arc<Client>, Error> {
        self.attach(project, None)?;
        project.archive.clone().ok_or_else(|| {
            Error::usage("no archive is given").help("give `--archive FOLDER`, or set $PIPE_ARCHIVE to the folder")
        })
    }
}

/// Print the warnings about the archive on standard error.
pub fn warn(project: &Project) {
    for warning in project.archive.iter().flat_map(|client| client.take_warnings()) {
        let stage = warning.stage.map(|stage| format!("{stage}: ")).unwrap_or_default();
        let head = Color::of_stderr().paint(color::WARNING, "warning:");
        let _ = secret::write(&mut std::io::stderr(), &format!("{head} {stage}{}\n", warning.text));
    }
}

/// A result that a command looks at, once per fingerprint.
pub struct Target {
    pub stage: String,
    /// None if it depends on results that neither the cache nor the archive has.
    pub fingerprint: Option<String>,
    pub verdict: Verdict,
}

/// The results of the wanted stages and of what they need, judged with the archive if the project has one.
pub fn targets(cx: &Context<'_>, project: &Project, file: &File, stages: &[String]) -> Result<Vec<Target>, Error> {
    let pipeline = cx.resolve(file)?;
    // A stage whose input is missing has no result; the others are still useful.
    let prepared = project.prepare(&pipeline, stages, &[], cx.build.origins)?;
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (at, verdict) in prepared.job().verdicts()?.into_iter().enumerate() {
        let Some(verdict) = verdict else { continue };
        let fingerprint = verdict.fingerprint.clone();
        if fingerprint.as_ref().is_none_or(|f| seen.insert(f.clone())) {
            all.push(Target { stage: pipeline.instances[at].name.clone(), fingerprint, verdict });
        }
    }
    let _ = project.stats.save();
    Ok(all)
}

/// `1 was`, `3 were`.
pub fn were(n: usize) -> String {
    if n == 1 { "1 was".into() } else { format!("{} were", format::count(n as u64)) }
}
