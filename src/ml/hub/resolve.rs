//! Resolves models and data sets named `hf:OWNER/NAME[@REVISION]` to a folder of the Hugging Face cache, downloading them if needed.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, ensure};

use super::client::{Client, RepoInfo};
use super::download::Download;
use super::failure::{Asked, At, Failure, shown};
use super::reference::{Reference, SCHEME, is_commit, is_plain};
use super::settings::Settings;
use super::store::Store;
use crate::files::weights;
use crate::text::data::Cleaning;
use crate::text::data::read::card;
use crate::text::tokenizer;
use crate::watch::Watch;

const CONFIG: &str = "config.json";
const README: &str = "README.md";
/// The config of a repository that holds only an adapter; such a repository has no `config.json`.
const ADAPTER: &str = "adapter_config.json";
/// Sets of files from which a tokenizer can be built, most preferred first.
const TOKENIZERS: [&[&str]; 5] =
    [&["tokenizer.json"], &["vocab.json", "merges.txt"], &["vocab.txt"], &["spm.model"], &["sentencepiece.bpe.model"]];
/// How texts were cleaned before the model was trained, and how the model was made.
const BESIDE: [&str; 2] = [Cleaning::FILE, "lineage.json"];
/// How many files of a repository an error message lists.
const LISTED: usize = 12;

/// Which files of a repository the caller needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Config, weights and tokenizer.
    Model,
    /// Only the tokenizer: its files are small, weights are not.
    Tokenizer,
    /// The files of a data set, or of one configuration of it.
    Dataset,
}

/// A Hub model in the local cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The folder with the needed files.
    pub dir: PathBuf,
    /// The commit that the revision pointed to when it was downloaded; `None` if a user placed the files by hand.
    pub commit: Option<String>,
}

/// True for `hf:…`, false for a folder.
pub fn is_reference(base: &str) -> bool {
    base.starts_with(SCHEME)
}

/// Returns the local folder of `hf:OWNER/NAME[@REVISION]`, downloading the files that the cache lacks.
///
/// Honours `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_DOWNLOAD_TIMEOUT` and `HF_HUB_OFFLINE` as Python's
/// huggingface_hub does, and shares its cache. A cached revision is used without a request, so a branch stays
/// at the commit that `pipe` or Python downloaded first. To choose a commit, name it; to follow the branch, delete its file
/// below `refs/`.
pub fn resolve(reference: &str, need: Need, watch: &dyn Watch) -> Result<Resolved> {
    Hub::new(Settings::from_env()?).resolve(reference, need, watch)
}

/// Looks up `hf:OWNER/NAME[@REVISION]` in the local cache without any request. Fails if a download could not help
/// either: the name is invalid, or the model is missing and an environment variable forbids downloads.
pub fn held(reference: &str, need: Need) -> Result<Option<Resolved>> {
    Hub::new(Settings::from_env()?).held(reference, need)
}

/// The Hub and the local cache, as the environment configures them.
struct Hub {
    settings: Settings,
}

impl Hub {
    fn new(settings: Settings) -> Self {
        Self { settings }
    }

    fn resolve(&self, text: &str, need: Need, watch: &dyn Watch) -> Result<Resolved> {
        if let Some(found) = self.held(text, need)? {
            return Ok(found);
        }
        let reference = Reference::parse(text)?;
        let store = Store::new(&self.settings.cache, &reference);
        // The cache may hold other files of this revision: all files must come from the same commit.
        let pinned = store.pinned(&reference.revision);
        let fetch = Fetch { settings: &self.settings, store: &store, reference: &reference, need, watch };
        fetch.run(pinned.as_deref().unwrap_or(&reference.revision)).map_err(|failure| match failure {
            Failure::Interrupted(interrupted) => interrupted.into(),
            failure => {
                let pin = pinned.is_some().then(|| store.pin_file(&reference.revision));
                let by_hand = self.by_hand(&reference, need);
                let asked = Asked { reference: &reference, settings: &self.settings, pin, by_hand };
                anyhow!("downloading {text} failed: {}", asked.explain(&failure))
            }
        })
    }

    fn held(&self, text: &str, need: Need) -> Result<Option<Resolved>> {
        let reference = Reference::parse(text)?;
        let is_set = need == Need::Dataset;
        let (kind, other) = if reference.is_dataset { ("data set", "model") } else { ("model", "data set") };
        ensure!(reference.is_dataset == is_set, "{text} names a {kind}, but a {other} is needed here");
        let found = self.cached(&reference, need);
        let variable = self.settings.offline.filter(|_| found.is_none());
        ensure!(
            variable.is_none(),
            "{text} is not in the local cache, and {0} forbids downloads; unset {0}, or {1}",
            variable.unwrap_or_default(),
            self.by_hand(&reference, need)
        );
        Ok(found)
    }

    /// Looks for a snapshot folder named after the revision, then for the commit that `refs/` records for it.
    fn cached(&self, reference: &Reference, need: Need) -> Option<Resolved> {
        let store = Store::new(&self.settings.cache, reference);
        let pinned = store.pinned(&reference.revision);
        [Some(reference.revision.clone()), pinned].into_iter().flatten().find_map(|revision| {
            let dir = store.snapshot(&revision);
            let is_held = match need {
                // Without a list, files may be missing that only the Hub can name; without the Hub they are all there are.
                Need::Dataset => match store.listed(&revision, reference.config.as_deref()) {
                    Some(names) => names.iter().all(|name| dir.join(name).is_file()),
                    None => (self.settings.offline.is_some() || !is_commit(&revision)) && dir.is_dir(),
                },
                need => is_complete(&dir, need),
            };
            is_held.then(|| Resolved { dir, commit: is_commit(&revision).then_some(revision) })
        })
    }

    /// Says how to install the files without a network; fits after "or".
    fn by_hand(&self, reference: &Reference, need: Need) -> String {
        let revision = &reference.revision;
        let dir = Store::new(&self.settings.cache, reference).snapshot(revision);
        let layouts: Vec<String> = TOKENIZERS.iter().map(|names| names.join(" with ")).collect();
        let beside = aside().collect::<Vec<_>>().join(", ");
        let tokenizer = format!("{}, and those of {beside} that exist", layouts.join(" or "));
        let files = match need {
            Need::Dataset => "README.md and those of its rows".to_owned(),
            Need::Tokenizer => tokenizer,
            Need::Model => format!("{CONFIG}, {} or {}, and {tokenizer}", weights::SINGLE, weights::PICKLE),
        };
        let page = shown(&self.settings.endpoint);
        format!("put its files into {}: {files} (from {page}/{}/tree/{revision})", dir.display(), reference.page())
    }
}

/// Tokenizer files that supplement a layout.
fn aside() -> impl Iterator<Item = &'static str> {
    tokenizer::FILES.into_iter().filter(|name| !TOKENIZERS.iter().any(|layout| layout.contains(name)))
}

/// Whether a snapshot holds the needed files; dangling links do not count.
fn is_complete(dir: &Path, need: Need) -> bool {
    let has = |name: &&str| dir.join(name).is_file();
    match need {
        Need::Model => has(&CONFIG) && weights::files(dir).is_ok_and(|files| !files.is_empty()),
        Need::Tokenizer => TOKENIZERS.iter().any(|layout| layout.iter().all(has)),
        Need::Dataset => dir.is_dir(),
    }
}

/// The download of one commit of a repository into the cache.
struct Fetch<'a> {
    settings: &'a Settings,
    store: &'a Store,
    reference: &'a Reference,
    need: Need,
    watch: &'a dyn Watch,
}

impl Fetch<'_> {
    fn run(&self, revision: &str) -> Result<Resolved, Failure> {
        let client = Client::new(self.settings);
        let path = self.reference.listing(revision);
        let info = client.with_retries(self.watch, || client.info(&path))?;
        let commit = info.sha.as_str();
        if !is_plain(commit) {
            return Err(Failure::Unfit(format!("the Hub sent an invalid commit: `{commit}`")));
        }
        let mut names = if self.need == Need::Dataset { Vec::new() } else { self.names(&info)? };
        // From here on, request files by commit: a push in between cannot mix two versions.
        let Self { store, reference, watch, .. } = *self;
        let mut download = Download { client: &client, store, reference, commit, watch, done: 0, total: 0 };
        if self.need == Need::Dataset {
            names = self.rows(&info, &mut download)?;
        }
        let mut files = download.fetch(&names)?;
        let index = files.iter().find(|(name, _)| [weights::INDEX, weights::PICKLE_INDEX].contains(&name.as_str()));
        if let Some((_, index)) = index {
            let shards = weights::shard_names(index).map_err(|error| Failure::Unfit(format!("{error:#}")))?;
            files.extend(download.fetch(&shards)?);
        }
        // Link the files last and pin the branch after them: a snapshot is complete even if this process dies before.
        for (name, blob) in &files {
            store.link(blob, commit, name)?;
        }
        if self.need == Need::Dataset {
            store.list(commit, reference.config.as_deref(), &names)?;
        }
        store.pin(&reference.revision, commit)?;
        Ok(Resolved { dir: store.snapshot(commit), commit: Some(info.sha.clone()) })
    }

    /// The files of a data set to download: its README, and those that the README or their names say.
    fn rows(&self, info: &RepoInfo, download: &mut Download) -> Result<Vec<String>, Failure> {
        let all: Vec<String> = info.siblings.iter().map(|file| file.rfilename.clone()).collect();
        let mut names: Vec<String> = all.iter().filter(|name| *name == README).cloned().collect();
        let readme = match download.fetch(&names)?.first() {
            Some((_, blob)) => Some(std::fs::read(blob).at("read", blob)?),
            None => None,
        };
        let readme = readme.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let chosen = card::choose(&all, readme.as_deref(), self.reference.config.as_deref());
        let chosen = chosen.map_err(|error| Failure::Unfit(format!("{}: {error:#}", self.reference.repository)))?;
        names.extend(chosen.files.into_iter().map(|(name, _)| name));
        names.dedup();
        Ok(names)
    }

    /// The files to download. Files that supplement a tokenizer come before the ones it is built from.
    fn names(&self, info: &RepoInfo) -> Result<Vec<String>, Failure> {
        let has = |name: &str| info.siblings.iter().any(|file| file.rfilename == name);
        let mut names: Vec<&str> =
            aside().chain(TOKENIZERS.into_iter().flatten().copied()).filter(|name| has(name)).collect();
        match self.need {
            Need::Model => {
                if !has(CONFIG) {
                    return Err(self.unfit(info, CONFIG));
                }
                let kinds = [weights::SINGLE, weights::INDEX, weights::PICKLE, weights::PICKLE_INDEX];
                let Some(kind) = kinds.into_iter().find(|name| has(name)) else {
                    return Err(self.unfit(info, &format!("{} or {}", weights::SINGLE, weights::PICKLE)));
                };
                // What `pipe` writes beside a model; other programs have no such files.
                names.extend(BESIDE.into_iter().filter(|name| has(name)));
                names.extend([CONFIG, kind]);
            }
            Need::Dataset => {}
            Need::Tokenizer if TOKENIZERS.iter().any(|layout| layout.iter().all(|name| has(name))) => {}
            Need::Tokenizer => {
                let layouts: Vec<String> = TOKENIZERS.iter().map(|names| names.join(" with ")).collect();
                return Err(self.unfit(info, &layouts.join(", no ")));
            }
        }
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// The error for a repository without the needed files: what is missing, what it contains, and what to do.
    fn unfit(&self, info: &RepoInfo, lacks: &str) -> Failure {
        let mut names: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        names.sort();
        let more = names.len().saturating_sub(LISTED);
        names.truncate(LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let holds =
            if names.is_empty() { "it is empty".into() } else { format!("it contains {}{more}", names.join(", ")) };
        let has = |name: &&str| names.contains(name);
        let advice = if self.need == Need::Model && has(&ADAPTER) {
            "this is an adapter: name its base model instead"
        } else if self.need == Need::Model && TOKENIZERS.iter().any(|layout| layout.iter().all(has)) && !has(&CONFIG) {
            "this is a tokenizer: name a model here, and this repository as `tokenizer`"
        } else {
            "name another repository, or a revision that has it"
        };
        Failure::Unfit(format!("{} has no {lacks}; {holds}; {advice}", self.reference.repository))
    }
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod dataset_tests;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
#[cfg(test)]
#[path = "trouble_tests.rs"]
mod trouble_tests;
