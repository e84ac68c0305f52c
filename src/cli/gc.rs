//! `pipe cache gc`: drop the results that nothing needs.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::context::{Context, File};
use crate::engine::collect::{Collected, Mode};
use crate::engine::planned::Action;
use crate::engine::project::Project;
use crate::error::Error;
use crate::report::format;

/// Drop results that nothing named here needs: keeps what FILEs would take from the cache, under each of their profiles.
///
/// A result that a running `pipe run` uses is kept in any case.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Pipeline files whose results are kept.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also keep what was used within this time: 30d, 12h, 2w; without FILEs, drop everything else.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Say what would be dropped, without dropping it.
    #[arg(long, short = 'n')]
    dry_run: bool,
}

impl Gc {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.files.is_empty() && self.older_than.is_none() {
            return Err(Error::usage("nothing says what to keep")
                .help("name the pipeline files whose results are needed, or `--older-than 30d`"));
        }
        let project = cx.project(self.files.first().map(PathBuf::as_path))?;
        let mut needed = HashSet::new();
        for file in &self.files {
            self.of_file(cx, &project, file, &mut needed)?;
        }
        let uses = project.history.as_ref().and_then(|h| h.last_uses().ok()).unwrap_or_default();
        let recent = self.older_than.map(|age| Recent { since: before_now(age), uses });
        let keeps = |fingerprint: &str, made: u64| {
            needed.contains(fingerprint) || recent.as_ref().is_some_and(|r| r.holds(fingerprint, made))
        };
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Remove };
        let done = project.cache.collect(mode, &keeps)?;
        cx.print(&render(&done, mode))
    }

    /// The results that a file would take from the cache, and the unfinished ones that it would go on with.
    fn of_file(
        &self,
        cx: &Context<'_>,
        project: &Project,
        file: &std::path::Path,
        needed: &mut HashSet<String>,
    ) -> Result<(), Error> {
        let read = |profile| cx.resolve(&File { file: file.to_path_buf(), profile, set: Vec::new() });
        let plain = read(None)?;
        let profiles: Vec<Option<String>> = plain.profiles.iter().cloned().map(Some).collect();
        for profile in std::iter::once(None).chain(profiles) {
            let pipeline = read(profile)?;
            // A profile may want data that this machine has not: what hangs on it has no result here.
            let prepared = project.prepare(&pipeline, &[], &[], cx.stock.remotes)?;
            let verdicts = prepared.job().verdicts()?.into_iter().flatten();
            needed.extend(
                verdicts.filter(|v| matches!(v.action, Action::Hit | Action::Run)).filter_map(|v| v.fingerprint),
            );
        }
        Ok(())
    }
}

/// What was used lately.
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
    let verb = if mode == Mode::Remove { "dropped" } else { "would drop" };
    let mut text = format!(
        "{verb} {} and {}, {}; ",
        format::plural(done.results.len(), "result"),
        format::plural(done.files, "file"),
        format::bytes(done.bytes)
    );
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
