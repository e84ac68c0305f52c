//! `pipe cache gc`: remove the results that nothing needs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
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
use pipe_engine::judge::history::Use;
use pipe_engine::judge::plan::Action;
use pipe_engine::judge::project::Project;
use pipe_engine::store::collect::{Collected, Gone, Mode};

/// Remove results that nothing named here needs; keep what FILEs would take from the cache, under each of their
/// profiles.
///
/// Results that a running `pipe run` uses are always kept, and so are those of other projects that share the cache and their
/// unfinished work, unless `--other-projects` is given. Files that were moved away as damaged and the event logs of runs
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
    /// Also remove results and unfinished work that only other projects use, which share this cache.
    #[arg(long)]
    other_projects: bool,
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
        let uses = match database(&project) {
            Ok(database) => database.uses()?,
            // Only the run database knows when results were used, and by whom.
            Err(error) if self.older_than.is_some() => return Err(error),
            Err(_) => HashMap::new(),
        };
        let recent = self.older_than.map(|age| Recent { since: before_now(age), uses: &uses });
        let others = Others { project: &project, uses: &uses };
        let foreign = |fingerprint: &str| !self.other_projects && others.owner(fingerprint).is_some();
        let of_others = RefCell::new(Vec::new());
        let keeps = |fingerprint: &str, made: u64| {
            let is_kept = !before.contains(fingerprint)
                || needed.contains(fingerprint)
                || recent.as_ref().is_some_and(|r| r.holds(fingerprint, made));
            if !is_kept && foreign(fingerprint) {
                of_others.borrow_mut().push(fingerprint.to_string());
                return true;
            }
            is_kept
        };
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Remove };
        let done = project.cache.collect(mode, &keeps)?;
        let mut text = render(&done, mode);
        text += &others.describe(&of_others.into_inner());
        cx.print(&(removed(&done, &uses) + &text))
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
struct Recent<'a> {
    /// Seconds since 1970.
    since: u64,
    uses: &'a HashMap<String, Vec<Use>>,
}

impl Recent<'_> {
    fn holds(&self, fingerprint: &str, made: u64) -> bool {
        let used = self.uses.get(fingerprint).into_iter().flatten().filter_map(|used| u64::try_from(used.at).ok());
        used.fold(made, u64::max) >= self.since
    }
}

/// The other projects that use this cache.
struct Others<'a> {
    project: &'a Project,
    uses: &'a HashMap<String, Vec<Use>>,
}

impl Others<'_> {
    /// The root of another project that still exists and used a result or has unfinished work at it, if this project did
    /// not use it.
    fn owner(&self, fingerprint: &str) -> Option<PathBuf> {
        let uses = || self.uses.get(fingerprint).into_iter().flatten().filter_map(|used| used.root.clone());
        let unfinished = self.project.cache.partial(fingerprint).owner();
        let mut all = uses().chain(unfinished);
        if all.clone().any(|root| root == self.project.root) {
            return None;
        }
        all.find(|root| root.is_dir())
    }

    /// A line for each other project of which results or unfinished work were kept.
    fn describe(&self, kept: &[String]) -> String {
        // Finished results first.
        let mut by_root: BTreeMap<PathBuf, [BTreeSet<&str>; 2]> = BTreeMap::new();
        for fingerprint in kept {
            let is_unfinished = self.project.cache.manifest(fingerprint).is_none();
            if let Some(root) = self.owner(fingerprint) {
                by_root.entry(root).or_default()[usize::from(is_unfinished)].insert(fingerprint);
            }
        }
        let line = |(root, [results, unfinished]): (PathBuf, [BTreeSet<&str>; 2])| {
            let nouns = [(results.len(), "result"), (unfinished.len(), "unfinished result")];
            let counted = nouns.into_iter().filter(|(count, _)| *count > 0);
            let what: Vec<String> = counted.map(|(count, noun)| format::plural(count, noun)).collect();
            let (what, root) = (what.join(" and "), root.display());
            format!("kept {what} of the project {root}; --other-projects removes such results\n")
        };
        by_root.into_iter().map(line).collect()
    }
}

/// How many removed results are listed; the rest is counted.
const LISTED: usize = 20;

/// What was removed, the most expensive first: a line for each result with its stage, its pipeline and the time it took.
fn removed(done: &Collected, uses: &HashMap<String, Vec<Use>>) -> String {
    let mut gone: Vec<&Gone> = done.results.iter().collect();
    gone.sort_by(|one, two| two.seconds.total_cmp(&one.seconds));
    let line = |gone: &&Gone| {
        let took = format::duration(gone.seconds);
        match uses.get(&gone.fingerprint).and_then(|uses| uses.first()) {
            Some(used) => format!("  {} of pipeline `{}`, made in {took}\n", used.stage, used.pipeline),
            None => format!("  a result of `{}`, made in {took}\n", gone.kind),
        }
    };
    let mut text: String = gone.iter().take(LISTED).map(line).collect();
    if gone.len() > LISTED {
        text += &format!("  and {} more\n", gone.len() - LISTED);
    }
    text
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
        let used = |at| vec![Use { root: None, pipeline: "p".into(), stage: "a".into(), at }];
        let uses = HashMap::from([("used".into(), used(150)), ("stale".into(), used(50))]);
        let recent = Recent { since: 100, uses: &uses };
        let cases = [("used", 1, true), ("stale", 1, false), ("stale", 100, true), ("never", 99, false)];
        for (fingerprint, made, holds) in cases {
            assert_eq!(recent.holds(fingerprint, made), holds, "{fingerprint} {made}");
        }
    }
}
