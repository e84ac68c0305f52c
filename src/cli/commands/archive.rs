//! The archive behind the cache: its options, and `pipe push` and `pipe pull`.

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
use pipe_engine::store::archive::client::{Client, Delivery, Wanted};
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

/// Store the results of a pipeline, or of some stages and what they need, in the archive.
#[derive(Debug, clap::Args)]
pub struct Push {
    #[command(flatten)]
    file: File,
    /// Push only these stages and what they need.
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    #[command(flatten)]
    archive: Options,
}

/// Fetch the results of a pipeline, or of some stages and what they need, from the archive; run nothing.
#[derive(Debug, clap::Args)]
pub struct Pull {
    #[command(flatten)]
    file: File,
    /// Pull only these stages and what they need.
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    #[command(flatten)]
    archive: Options,
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
    fn required(&self, project: &mut Project) -> Result<Arc<Client>, Error> {
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
struct Target {
    stage: String,
    /// None if it depends on results that neither the cache nor the archive has.
    fingerprint: Option<String>,
    verdict: Verdict,
}

fn targets(cx: &Context<'_>, project: &Project, file: &File, stages: &[String]) -> Result<Vec<Target>, Error> {
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

fn cannot_write(client: &Client, error: impl std::fmt::Display) -> Error {
    Error::failed(format!("cannot write to the archive {}: {error}", client.name()))
}

impl Push {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let mut project = cx.project(Some(&self.file.file))?;
        let client = self.archive.required(&mut project)?;
        if !client.writes() {
            return Err(Error::usage("the archive is read-only here: its mode is `read`")
                .help("give `--archive-mode read-write`, or change $PIPE_ARCHIVE_MODE"));
        }
        // Only the cache counts here.
        let project = Project { archive: None, ..project };
        let (mut stored, mut bytes, mut present, mut without) = (0, 0, 0, Vec::new());
        for target in targets(cx, &project, &self.file, &self.stages)? {
            let (Some(fingerprint), Some(_)) = (&target.fingerprint, &target.verdict.entry) else {
                without.push(target.stage);
                continue;
            };
            let wanted = Wanted { fingerprint, stage: Some(&target.stage) };
            match client.deliver(&project.cache, wanted).map_err(|e| cannot_write(&client, e))? {
                Delivery::Stored { bytes: new } => (stored, bytes) = (stored + 1, bytes + new),
                Delivery::Present | Delivery::Differs => present += 1,
                Delivery::Gone => without.push(target.stage),
            }
        }
        warn(&Project { archive: Some(client.clone()), ..project });
        let mut text =
            format!("pushed {} ({}) to {}", format::plural(stored, "result"), format::bytes(bytes), client.name());
        if present > 0 {
            text += &format!("; {} there already", format::plural(present, "result"));
        }
        cx.print(&(text + "\n"))?;
        if without.is_empty() {
            return Ok(());
        }
        cx.print(&format!("no result yet: {}\n", without.join(", ")))
    }
}

impl Pull {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let mut project = cx.project(Some(&self.file.file))?;
        let client = self.archive.required(&mut project)?;
        let (mut fetched, mut bytes, mut present, mut without) = (0, 0, 0, Vec::new());
        for target in targets(cx, &project, &self.file, &self.stages)? {
            match (&target.fingerprint, &target.verdict.entry, target.verdict.fetch) {
                (Some(_), Some(_), None) => present += 1,
                (Some(fingerprint), Some(_), Some(_)) => {
                    let wanted = Wanted { fingerprint, stage: Some(&target.stage) };
                    match pull(&project, &client, wanted)? {
                        Some(new) => (fetched, bytes) = (fetched + 1, bytes + new),
                        None => without.push(target.stage),
                    }
                }
                _ => without.push(target.stage),
            }
        }
        warn(&project);
        let mut text =
            format!("pulled {} ({}) from {}", format::plural(fetched, "result"), format::bytes(bytes), client.name());
        if present > 0 {
            text += &format!("; {} in the cache already", format::plural(present, "result"));
        }
        cx.print(&(text + "\n"))?;
        if without.is_empty() {
            return Ok(());
        }
        let what = format!("neither the cache nor the archive has a result of {}", without.join(", "));
        Err(Error::failed(what).help("`pipe run` makes what is missing"))
    }
}

/// Fetch one result; the bytes that came, or None if the archive turned out not to have it.
fn pull(project: &Project, client: &Client, wanted: Wanted<'_>) -> Result<Option<u64>, Error> {
    let cache = &project.cache;
    let _lock = cache.lock(wanted.fingerprint, &|| false, &|| {})?;
    if cache.entry(wanted.fingerprint)?.is_some() {
        return Ok(Some(0));
    }
    let Some(held) = client.lookup(cache, wanted)? else { return Ok(None) };
    let shared = client.fetch(cache, wanted, &held, &|| false, &|_| {})?;
    Ok(shared.map(|_| held.bytes()))
}
