//! `pipe pull`: fetch results from the archive.

use crate::cli::context::{Context, File};
use crate::cli::words::archive::{Options, targets, warn, were};
use crate::error::Error;
use crate::report::format;
use pipe_engine::judge::project::Project;
use pipe_engine::store::archive::client::{Client, Wanted};

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
            text += &format!("; {} in the cache already", were(present));
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
