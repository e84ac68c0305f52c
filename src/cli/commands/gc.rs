//! `pipe cache gc`: remove the results that nothing needs.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::cli::context::Context;
use crate::cli::words::database::database;
use crate::cli::words::side::Side;
use crate::error::Error;
use crate::report::format;
use pipe_engine::declare::resolve::resolve;
use pipe_engine::diff::Inputs;
use pipe_engine::judge::external::Lookup;
use pipe_engine::judge::plan::Action;
use pipe_engine::judge::project::Project;
use pipe_engine::store::collect::{Collected, Mode};

/// Remove results that nothing named here needs; keep what FILEs would take from the cache, under each of their
/// profiles.
///
/// Results that a running `pipe run` uses are always kept. Files that were moved away as damaged and the event logs of runs
/// that have ended are removed too; `--older-than` also keeps logs younger than that.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Keep the results of these pipeline files.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also keep the results of the files at a git revision; without FILEs, of all pipeline files at the revision.
    #[arg(long, value_name = "REV")]
    keep_rev: Vec<String>,
    /// Also keep results used within this time, such as 30d, 12h or 2w; without FILEs, remove everything else.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Report what would be removed, without removing it.
    #[arg(long, short = 'n')]
    dry_run: bool,
}

impl Gc {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.files.is_empty() && self.keep_rev.is_empty() && self.older_than.is_none() {
            return Err(Error::usage("specify which results to keep")
                .help("give the pipeline files whose results you need, `--keep-rev REV`, or `--older-than 30d`"));
        }
        let project = cx.project(self.files.first().map(PathBuf::as_path))?;
        // Results that other processes make while definitions are judged must be kept.
        let before = project.cache.collectable()?;
        let mut needed = HashSet::new();
        for side in self.sides()? {
            of_side(cx, &project, &side, &mut needed)?;
        }
        let recent = match self.older_than {
            // Only the run database knows when results were used.
            Some(age) => Some(Recent { since: before_now(age), uses: database(&project)?.last_uses()? }),
            None => None,
        };
        let keeps = |fingerprint: &str, made: u64| {
            !before.contains(fingerprint)
                || needed.contains(fingerprint)
                || recent.as_ref().is_some_and(|r| r.holds(fingerprint, made))
        };
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Remove };
        let done = project.cache.collect(mode, &keeps)?;
        cx.print(&render(&done, mode))
    }

    /// The definitions whose results are kept.
    fn sides(&self) -> Result<Vec<Side>, Error> {
        let mut all: Vec<Side> = self.files.iter().cloned().map(Side::File).collect();
        for revision in &self.keep_rev {
            if self.files.is_empty() {
                all.extend(Side::all_at(revision)?);
            }
            for file in &self.files {
                all.push(Side::of_file(file, revision)?);
            }
        }
        Ok(all)
    }
}

/// Collect the fingerprints of the results that a definition would take from the cache under each of its profiles, and
/// of the partial results that it would resume.
fn of_side(cx: &Context<'_>, project: &Project, side: &Side, needed: &mut HashSet<String>) -> Result<(), Error> {
    let (_, Some(source)) = side.text()? else { return Ok(()) };
    let read = |profile: Option<&str>| resolve(&source, profile, &[], cx.build.kinds);
    let mut pipelines = vec![read(None)?];
    for profile in pipelines[0].profiles.clone() {
        pipelines.push(read(Some(&profile))?);
    }
    let revision = side.revision(&project.root, &Inputs::of(&pipelines, cx.build.origins))?;
    let lookup = Lookup { root: &project.root, origins: cx.build.origins, revision: &revision };
    for pipeline in &pipelines {
        // A missing input of a profile blocks its stages, which then have no results to keep.
        let prepared = project.prepare(pipeline, &[], &[], cx.build.origins)?.at(lookup);
        let verdicts = prepared.job().verdicts()?.into_iter().flatten();
        let used = verdicts.filter(|v| matches!(v.action, Action::Hit | Action::Run));
        needed.extend(used.filter_map(|v| v.fingerprint));
    }
    Ok(())
}

/// The results that were used recently.
struct Recent {
    /// Seconds since 1970.
    since: u64,
    uses: HashMap<String, i64>,
}

impl Recent {
    fn holds(&self, fingerprint: &str, made: u64) -> bool {
        let used = self.uses.get(fingerprint).and_then(|at| u64::try_from(*at).ok());
        made.max(used.unwrap_or(0)) >= self.since
    }
}

fn before_now(age: Duration) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(age).as_secs()
}

fn render(done: &Collected, mode: Mode) -> String {
    let verb = if mode == Mode::Remove { "removed" } else { "would remove" };
    let results = format::plural(done.results.len(), "result");
    let files = format::plural(done.files, "file");
    let what = match done.logs {
        0 => format!("{results} and {files}"),
        logs => format!("{results}, {files} and {} of runs", format::plural(logs, "log")),
    };
    let mut text = format!("{verb} {what}, {}; ", format::bytes(done.bytes));
    text += &format!("kept {}, {}", format::plural(done.kept_results, "result"), format::bytes(done.kept_bytes));
    if done.in_use > 0 {
        text += &format!(" ({} in use by a running process)", done.in_use);
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_or_used_lately_is_recent() {
        let recent = Recent { since: 100, uses: HashMap::from([("used".into(), 150), ("stale".into(), 50)]) };
        let cases = [("used", 1, true), ("stale", 1, false), ("stale", 100, true), ("never", 99, false)];
        for (fingerprint, made, holds) in cases {
            assert_eq!(recent.holds(fingerprint, made), holds, "{fingerprint} {made}");
        }
    }
}
