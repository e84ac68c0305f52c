//! The project of a pipeline file: its root, cache and run database, and the job of a pipeline.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::external::{Externals, Lookup, Revision};
use super::history::{History, Latest};
use super::job::Job;
use crate::contract::context::relative_to_root;
use crate::contract::event::Observer;
use crate::contract::origin::Origin;
use crate::declare::graph::Graph;
use crate::declare::resolve::Pipeline;
use crate::store::archive::client::Client;
use crate::store::cache::Cache;
use crate::store::digest::StatCache;
use crate::store::disk::{Disk, Os};
use crate::store::error::CacheError;
use crate::text::diagnostic::{Diagnostic, Diagnostics, Source, listed};

pub struct Project {
    pub root: PathBuf,
    pub cache: Cache,
    pub stats: StatCache,
    /// A second store behind the cache; None unless a command sets one.
    pub archive: Option<Arc<Client>>,
    /// None if it cannot be opened; `history_problem` says why.
    pub history: Option<History>,
    pub history_problem: Option<String>,
}

/// A pipeline whose external inputs were found; owns the data that a `Job` borrows.
pub struct Prepared<'a> {
    project: &'a Project,
    pipeline: &'a Pipeline,
    pub graph: Graph,
    externals: Externals,
    latest: OnceLock<HashMap<String, Latest>>,
    needed: Vec<bool>,
    forced: Vec<bool>,
}

impl Project {
    /// The nearest folder above `file` that has `cache/` or `.git`, else the folder of the file.
    pub fn root_of(file: &Path) -> PathBuf {
        let dir = folder_of(file);
        marked(&dir).unwrap_or(dir)
    }

    /// Whether a file is inside a project, marked by `cache/` or `.git`.
    pub fn is_around(file: &Path) -> bool {
        marked(&folder_of(file)).is_some()
    }

    /// Open the cache at `cache_dir`, or at `cache/` below the root.
    pub fn open(root: &Path, cache_dir: Option<&Path>) -> Result<Self, CacheError> {
        Self::open_on(root, cache_dir, Arc::new(Os))
    }

    pub fn open_on(root: &Path, cache_dir: Option<&Path>, disk: Arc<dyn Disk>) -> Result<Self, CacheError> {
        let cache = Cache::open_on(&cache_dir.map_or_else(|| root.join("cache"), Path::to_path_buf), disk.clone())?;
        let stats = StatCache::open(cache.dir().join("stat-cache.json"), disk);
        let database = cache.dir().join("history.sqlite");
        let (history, history_problem) = match History::open(&database) {
            Ok(history) => (Some(history), None),
            Err(e) => {
                let shown = database.display();
                let text = format!("cannot open the run database {shown}: {e}; runs will not be recorded");
                (None, Some(relative_to_root(root, &text)))
            }
        };
        Ok(Self { root: root.to_path_buf(), cache, stats, archive: None, history, history_problem })
    }

    /// Find on this machine what the wanted stages need outside the cache. No targets means all stages.
    pub fn prepare<'a>(
        &'a self,
        pipeline: &'a Pipeline,
        targets: &[String],
        force: &[String],
        origins: &[Origin],
    ) -> Result<Prepared<'a>, Diagnostics> {
        let graph = Graph::of(&pipeline.instances);
        let mut problems = Vec::new();
        let targets: Vec<usize> = targets.iter().flat_map(|t| select(pipeline, t, &mut problems)).collect();
        let forced: Vec<usize> = force.iter().flat_map(|t| select(pipeline, t, &mut problems)).collect();
        if !problems.is_empty() {
            return Err(Diagnostics::new(problems));
        }
        let needed = if targets.is_empty() { vec![true; pipeline.instances.len()] } else { graph.closure(&targets) };
        let lookup = Lookup { root: &self.root, origins, revision: &Revision::new() };
        let externals = Externals::find(pipeline, &needed, lookup);
        let forced = (0..pipeline.instances.len()).map(|at| forced.contains(&at)).collect();
        Ok(Prepared { project: self, pipeline, graph, externals, latest: OnceLock::new(), needed, forced })
    }
}

impl Prepared<'_> {
    /// The same with the files of a revision instead of the working tree's; for plans, not for runs.
    pub fn at(self, lookup: Lookup<'_>) -> Self {
        Self { externals: Externals::find(self.pipeline, &self.needed, lookup), ..self }
    }

    /// Download the inputs that are not on this machine.
    pub fn fetch(&mut self, origins: &[Origin], observer: &dyn Observer) {
        self.externals.fetch(self.pipeline, origins, observer);
    }

    /// All inputs that are missing, as errors of the pipeline file.
    pub fn complete(&self) -> Result<(), Diagnostics> {
        self.externals.complete()
    }

    pub fn job(&self) -> Job<'_> {
        Job {
            pipeline: self.pipeline,
            graph: &self.graph,
            cache: &self.project.cache,
            stats: &self.project.stats,
            externals: &self.externals,
            archive: self.project.archive.as_ref(),
            history: self.project.history.as_ref(),
            latest: &self.latest,
            root: &self.project.root,
            needed: &self.needed,
            forced: &self.forced,
        }
    }
}

fn folder_of(file: &Path) -> PathBuf {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    file.parent().unwrap_or(Path::new("/")).to_path_buf()
}

fn marked(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().find(|d| d.join("cache").is_dir() || d.join(".git").exists()).map(Path::to_path_buf)
}

/// The instances that a word on the command line selects; a stage's name selects all its instances.
fn select(pipeline: &Pipeline, word: &str, problems: &mut Vec<Diagnostic>) -> Vec<usize> {
    let found: Vec<usize> = (0..pipeline.instances.len())
        .filter(|&at| pipeline.instances[at].name == word || pipeline.instances[at].stage == word)
        .collect();
    if found.is_empty() {
        let mut known: Vec<&str> = Vec::new();
        for name in pipeline.instances.iter().flat_map(|i| [i.stage.as_str(), i.name.as_str()]) {
            if !known.contains(&name) {
                known.push(name);
            }
        }
        problems.push(
            Diagnostic::new(format!("{} has no stage `{word}`", pipeline.source.name))
                .suggest(word, known.iter().copied())
                .help(format!("stages: {}", listed(known))),
        );
    }
    found
}

/// Read a pipeline file.
pub fn read_source(file: &Path) -> Result<Arc<Source>, Diagnostics> {
    let one = |d: Diagnostic| Diagnostics(vec![d]);
    let bytes =
        std::fs::read(file).map_err(|e| one(Diagnostic::new(format!("cannot read {}: {e}", file.display()))))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let (name, at) = (file.display(), e.utf8_error().valid_up_to());
        one(Diagnostic::new(format!("{name} is not valid UTF-8; the first invalid byte is at offset {at}")))
    })?;
    Ok(Source::new(file.display().to_string(), text))
}
