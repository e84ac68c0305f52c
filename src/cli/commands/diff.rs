//! `pipe diff`: what changed in a definition, and what that invalidates.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::cli::context::Context;
use crate::cli::words::git::Repository;
use crate::cli::words::side::{At, Side, declares_stages, open};
use crate::error::Error;
use crate::report::diff::{Document, markdown, text};
use pipe_engine::diff::{Reading, Review};
use pipe_engine::judge::external::Lookup;
use pipe_engine::judge::project::Project;

/// Compare two definitions without running anything.
///
/// A side is a file, or `REV:path` for a file at a git revision. Without sides, compare all pipeline files that differ
/// from HEAD. With one side, compare it with the same file at HEAD, or with the working tree if it is a `REV:path`.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// The old definition, or the only file.
    #[arg(value_name = "BASE")]
    first: Option<String>,
    /// The new definition.
    #[arg(value_name = "HEAD", conflicts_with = "base")]
    second: Option<String>,
    /// Compare files of the working tree with this revision [default: HEAD].
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// Apply a profile to both sides.
    #[arg(long, short, value_name = "NAME")]
    profile: Option<String>,
    /// Override one value on both sides, as in `--set stage.teacher.epochs=1`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The output format.
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Exit with code 3 if there is any difference.
    #[arg(long)]
    exit_code: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for the terminal.
    Text,
    /// A pull-request comment.
    Markdown,
    /// JSON; `docs/diff.md` describes it.
    Json,
}

impl Diff {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let reading = Reading {
            profile: self.profile.as_deref(),
            sets: &self.set,
            kinds: cx.build.kinds,
            origins: cx.build.origins,
        };
        let reviews: Vec<Review> =
            self.sides()?.iter().map(|(base, head)| review(cx, base, head, reading)).collect::<Result<_, _>>()?;
        match self.format {
            Format::Json => cx.print_json(&Document::of(&reviews))?,
            _ if reviews.is_empty() => cx.print(&format!("no pipeline file differs from {}\n", self.revision()))?,
            Format::Markdown => cx.print(&markdown(&reviews))?,
            Format::Text => {
                let all: Vec<String> = reviews.iter().map(|r| text(r, cx.color)).collect();
                cx.print(&all.join("\n"))?
            }
        }
        let differs = reviews.iter().any(|r| !r.is_empty());
        if self.exit_code && differs { Err(Error::Differences) } else { Ok(()) }
    }

    fn revision(&self) -> &str {
        self.base.as_deref().unwrap_or("HEAD")
    }

    fn sides(&self) -> Result<Vec<(Side, Side)>, Error> {
        let Some(first) = &self.first else { return changed(self.revision()) };
        let first = Side::parse(first)?;
        if let Some(second) = &self.second {
            return Ok(vec![(first, Side::parse(second)?)]);
        }
        match &first {
            Side::Revision(_) if self.base.is_some() => {
                Err(Error::usage("--base cannot be combined with a side of the form REV:path")
                    .help("to compare two revisions, write `pipe diff REV:path REV:path`"))
            }
            Side::Revision(at) => {
                let file = shortest(&at.file());
                let here =
                    if file.exists() { Side::File(file) } else { Side::Absent { shown: file.display().to_string() } };
                Ok(vec![(first, here)])
            }
            Side::File(file) => {
                let base = Side::of_file(file, self.revision())?;
                let is_removed = matches!(base, Side::Revision(_)) && !file.exists();
                Ok(vec![(base, if is_removed { Side::Absent { shown: file.display().to_string() } } else { first })])
            }
            Side::Absent { .. } => Err(Error::usage("/dev/null needs a second side")),
        }
    }
}

/// Every tracked pipeline file that differs between a revision and the working tree.
fn changed(revision: &str) -> Result<Vec<(Side, Side)>, Error> {
    let repository = Repository::of(Path::new("."))?;
    let commit = repository.commit(revision)?;
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|e| e == "toml");
    let mut all = Vec::new();
    for moved in repository.moved(&commit)? {
        let before = moved.before.filter(is_toml);
        let after = moved.after.filter(is_toml).map(|path| shortest(&repository.top.join(path)));
        let shown = |path: &Path| format!("{revision}:{}", path.display());
        let old = before.as_deref().map(|path| repository.text(&commit, path)).transpose()?.flatten();
        let new = after.as_deref().and_then(|file| std::fs::read_to_string(file).ok());
        if ![&old, &new].into_iter().flatten().any(|text| declares_stages(text)) {
            continue;
        }
        let base = match (&before, &after) {
            (Some(path), _) => Side::Revision(At {
                commit: commit.clone(),
                path: path.clone(),
                top: repository.top.clone(),
                shown: shown(path),
            }),
            (None, Some(file)) => Side::Absent { shown: shown(file) },
            (None, None) => continue,
        };
        let head = match (after, before) {
            (Some(file), _) => Side::File(file),
            (None, path) => Side::Absent { shown: path.unwrap_or_default().display().to_string() },
        };
        all.push((base, head));
    }
    Ok(all)
}

/// The path relative to the current folder if it is inside.
fn shortest(file: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(std::fs::canonicalize).unwrap_or_default();
    file.strip_prefix(&here).unwrap_or(file).to_path_buf()
}

fn review(cx: &Context<'_>, base: &Side, head: &Side, reading: Reading<'_>) -> Result<Review, Error> {
    let opened = open(cx, base, head, reading)?;
    let mut review = opened.pair.review(&opened.touched, reading);
    if !review.invalidated.is_empty() {
        let project = Project::open(&opened.root, cx.cache_dir.as_deref())?;
        let lookup = Lookup { root: &project.root, origins: reading.origins, revision: &opened.revision };
        opened.pair.judge(&mut review, &project, lookup)?;
        let _ = project.stats.save();
    }
    Ok(review)
}
