//! The sides of a comparison on the command line: a file, a file at a revision, or no file.

use std::path::{Path, PathBuf};

use super::git::{Repository, split};
use crate::cli::context::{Context, File};
use crate::error::Error;
use pipe_engine::diff::{Inputs, Pair, Reading, Text, Touched};
use pipe_engine::judge::external::Revision;
use pipe_engine::judge::project::{Project, read_source};
use pipe_engine::text::diagnostic::Source;
use pipe_engine::text::value;

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// No file: the other side's stages were all added, or all removed.
    Absent {
        shown: String,
    },
    File(PathBuf),
    /// A file as a commit has it.
    Revision(At),
}

/// A path at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    pub commit: String,
    /// From the top of the working tree.
    pub path: PathBuf,
    pub top: PathBuf,
    /// As the user named it: `HEAD:pipelines/x.toml`.
    pub shown: String,
}

impl Side {
    /// An existing file takes precedence over `REV:path`; git passes `/dev/null` for a side without the file.
    pub fn parse(word: &str) -> Result<Self, Error> {
        let file = Path::new(word);
        if word == "/dev/null" {
            return Ok(Self::Absent { shown: word.into() });
        }
        match split(word) {
            Some((revision, path)) if !file.exists() => Self::at(revision, path),
            _ => Ok(Self::File(file.into())),
        }
    }

    /// Resolve `REV:path`; an absolute path is looked up in the repository that contains it.
    fn at(revision: &str, path: &str) -> Result<Self, Error> {
        let shown = format!("{revision}:{path}");
        let (repository, name) = match Path::new(path).is_absolute() {
            true => beside(Path::new(path))?,
            false => (Repository::of(Path::new("."))?, path.to_string()),
        };
        let commit = repository.commit(revision)?;
        match repository.locate(&commit, &name)? {
            Some(path) => Ok(Self::Revision(At { commit, path, top: repository.top, shown })),
            None => Err(Error::usage(format!("revision `{revision}` has no file {path}"))
                .help("paths are relative to the top of the repository or to the current folder")),
        }
    }

    /// The same file at a revision; absent if the revision does not have it.
    pub fn of_file(file: &Path, revision: &str) -> Result<Self, Error> {
        let (repository, name) = beside(file)?;
        let commit = repository.commit(revision)?;
        let shown = format!("{revision}:{}", file.display());
        Ok(match repository.locate(&commit, &name)? {
            Some(path) => Self::Revision(At { commit, path, top: repository.top, shown }),
            None => Self::Absent { shown },
        })
    }

    /// Every pipeline file of a revision.
    pub fn all_at(revision: &str) -> Result<Vec<Self>, Error> {
        let repository = Repository::of(Path::new("."))?;
        let commit = repository.commit(revision)?;
        let mut all = Vec::new();
        for path in repository.files(&commit, "toml")? {
            // TOML files of other tools may not even be valid text.
            if repository.text(&commit, &path).ok().flatten().is_some_and(|text| declares_stages(&text)) {
                let shown = format!("{revision}:{}", path.display());
                all.push(Self::Revision(At { commit: commit.clone(), path, top: repository.top.clone(), shown }));
            }
        }
        Ok(all)
    }

    /// The path of this side's file in the working tree.
    pub fn in_working_tree(&self) -> Option<PathBuf> {
        match self {
            Self::Absent { .. } => None,
            Self::File(file) => Some(file.clone()),
            Self::Revision(at) => Some(at.file()),
        }
    }

    /// The name and text of this side.
    pub fn text(&self) -> Result<Text, Error> {
        match self {
            Self::Absent { shown } => Ok((shown.clone(), None)),
            Self::File(file) => Ok((file.display().to_string(), Some(read_source(file)?))),
            Self::Revision(at) => {
                let text = Repository::of(&at.top)?.text(&at.commit, &at.path)?;
                Ok((at.shown.clone(), text.map(|t| Source::new(at.shown.clone(), t))))
            }
        }
    }

    /// Input files of stages that differ between this side and the working tree, by path from the project root.
    pub fn revision(&self, root: &Path, inputs: &Inputs) -> Result<Revision, Error> {
        let Self::Revision(at) = self else { return Ok(Revision::new()) };
        let repository = Repository::of(&at.top)?;
        let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.into());
        let mut revision = Revision::new();
        let moved = repository.moved(&at.commit)?;
        for path in moved.iter().flat_map(|m| [&m.before, &m.after]).flatten() {
            let whole = at.top.join(path);
            let Some(name) = whole.strip_prefix(&root).ok().and_then(Path::to_str) else { continue };
            if inputs.include(name) {
                revision.insert(name.into(), repository.digest(&at.commit, path)?);
            }
        }
        Ok(revision)
    }
}

impl At {
    /// The file's path in the working tree.
    pub fn file(&self) -> PathBuf {
        self.top.join(&self.path)
    }
}

/// Whether a TOML file is a pipeline: it has a stage with `use`. A file that cannot be parsed counts if it might have
/// one.
pub fn declares_stages(text: &str) -> bool {
    let source = Source::new("", text);
    let Ok(table) = value::parse(&source) else { return text.contains("[stage.") };
    let stages = table.get("stage").and_then(|i| i.value.as_table());
    stages.is_some_and(|t| t.0.iter().any(|s| s.value.as_table().is_some_and(|s| s.get("use").is_some())))
}

/// The repository that contains a file, and the file's name relative to its own folder.
fn beside(file: &Path) -> Result<(Repository, String), Error> {
    let repository = Repository::of(file.parent().unwrap_or(Path::new(".")))?;
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((repository, format!("./{name}")))
}

/// Two sides after reading, and the input files that differ between them.
pub struct Opened {
    pub pair: Pair,
    pub touched: Touched,
    /// Files of the head that differ from the working tree.
    pub revision: Revision,
    pub root: PathBuf,
}

/// Read both sides. The project is that of the head, or of the current folder if the head is outside any project.
pub fn open(cx: &Context<'_>, base: &Side, head: &Side, reading: Reading<'_>) -> Result<Opened, Error> {
    let pair = Pair::read(base.text()?, head.text()?, reading)?;
    let place = [head, base].into_iter().filter_map(Side::in_working_tree).find(|file| Project::is_around(file));
    let root = Project::root_of(place.as_deref().unwrap_or(Path::new("pipeline.toml")));
    let inputs = pair.inputs(cx.build.origins);
    let (old, new) = (base.revision(&root, &inputs)?, head.revision(&root, &inputs)?);
    let here = |name: &str| {
        let file = root.join(name);
        file.is_file().then(|| pipe_engine::store::digest::file(&file)).transpose()
    };
    let mut touched = Touched::new();
    for name in old.keys().chain(new.keys()) {
        let cannot = |e| Error::failed(format!("cannot read {}: {e}", root.join(name).display()));
        let before = old.get(name).cloned().map_or_else(|| here(name), Ok).map_err(cannot)?;
        let after = new.get(name).cloned().map_or_else(|| here(name), Ok).map_err(cannot)?;
        if before != after {
            touched.insert(name.clone(), (before, after));
        }
    }
    Ok(Opened { pair, touched, revision: new, root })
}

impl File {
    /// How to read this file and its other side.
    pub fn reading<'a>(&'a self, cx: &Context<'_>) -> Reading<'a> {
        Reading { profile: self.profile.as_deref(), sets: &self.set, kinds: cx.build.kinds, origins: cx.build.origins }
    }
}
