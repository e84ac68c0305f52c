//! `pipe cache`: list, verify and collect results, and find the files of an artifact.

use std::time::Instant;

use clap::Subcommand;
use serde::Serialize;

use super::gc::Gc;
use crate::cli::context::{Context, File};
use crate::cli::words::folders::folders;
use crate::error::Error;
use crate::report::format;
use crate::report::table::Table;
use pipe_engine::judge::project::Project;
use pipe_engine::store::entry::Entry;

/// List, verify or remove cached results, or print the folder of an artifact.
#[derive(Debug, clap::Args)]
pub struct Cache {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the results.
    Ls {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Verify every byte; damaged files are moved away, and the next run makes the results again.
    Verify,
    Gc(Gc),
    /// Print the folder of a stage's artifact.
    Path(Path),
}

#[derive(Debug, clap::Args)]
struct Path {
    #[command(flatten)]
    file: File,
    /// The stage, or `stage.port` if it has several outputs.
    stage: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Listed {
    fingerprint: String,
    kind: String,
    bytes: u64,
    made: u64,
    seconds: f64,
    device: String,
}

impl Cache {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        match self.command {
            Command::Ls { json } => list(cx, json),
            Command::Verify => verify(cx),
            Command::Gc(gc) => gc.run(cx),
            Command::Path(path) => path.run(cx),
        }
    }
}

/// All results with complete files.
fn entries(project: &Project) -> Result<Vec<(String, Entry)>, Error> {
    let mut all = Vec::new();
    for fingerprint in project.cache.fingerprints()? {
        if let Some(entry) = project.cache.entry(&fingerprint)? {
            all.push((fingerprint, entry));
        }
    }
    Ok(all)
}

fn list(cx: &mut Context<'_>, json: bool) -> Result<(), Error> {
    let project = cx.project(None)?;
    let mut all: Vec<Listed> = entries(&project)?
        .into_iter()
        .map(|(fingerprint, e)| {
            let bytes = e.outputs.values().map(|a| a.bytes()).sum();
            Listed { fingerprint, kind: e.kind, bytes, made: e.made.at, seconds: e.made.seconds, device: e.made.device }
        })
        .collect();
    all.sort_by(|a, b| b.made.cmp(&a.made).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
    if json {
        return cx.print_json(&all);
    }
    let mut table = Table::new(["result", "kind", ">size", "made (UTC)", ">took", "on"]);
    for l in &all {
        table.row([
            l.fingerprint[..12].to_string(),
            l.kind.clone(),
            format::bytes(l.bytes),
            format::moment(l.made as f64),
            format::duration(l.seconds),
            l.device.clone(),
        ]);
    }
    cx.print(&if all.is_empty() { "the cache is empty\n".to_string() } else { table.render() })
}

fn verify(cx: &mut Context<'_>) -> Result<(), Error> {
    let project = cx.project(None)?;
    let begin = Instant::now();
    let found = project.cache.verify_all()?;
    for fingerprint in &found.incomplete {
        cx.print(&format!("{}: a file of this result is missing or damaged\n", &fingerprint[..12]))?;
    }
    for (fingerprint, damaged) in &found.damaged {
        for one in damaged {
            cx.print(&format!("{}: {one}\n", &fingerprint[..12]))?;
        }
    }
    let lost = found.incomplete.len() + found.damaged.len();
    if lost > 0 {
        return Err(Error::failed(format!("{} in the cache", format::plural(lost, "damaged result")))
            .help("the next run makes these results again"));
    }
    let rate = found.bytes as f64 / begin.elapsed().as_secs_f64();
    cx.print(&format!(
        "{}, {}: all intact ({}/s)\n",
        format::plural(found.files, "file"),
        format::bytes(found.bytes),
        format::bytes(rate as u64)
    ))
}

impl Path {
    fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        for dir in folders(cx, &self.file, &self.stage, None)? {
            cx.print_data(&format!("{}\n", dir.display()))?;
        }
        Ok(())
    }
}
