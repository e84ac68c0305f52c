//! Files and folders outside the cache that results depend on: found, downloaded and digested before the first stage.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use super::tree::{Tree, is_pattern};
use crate::contract::event::{Event, Observer};
use crate::contract::kind::{External, What};
use crate::contract::origin::{Fetched, Origin};
use crate::declare::instance::Instance;
use crate::declare::resolve::Pipeline;
use crate::store::digest::StatCache;
use crate::store::manifest::Manifest;
use crate::text::diagnostic::{Diagnostic, Diagnostics, Place, closest};
use crate::text::value::{Node, Value};

/// Files of a tree that are in the manifest one by one; more are one line together.
const MOST_LINES: usize = 500;

/// One external input of one instance.
#[derive(Debug, Clone)]
pub struct Found {
    pub name: String,
    pub path: PathBuf,
    pin: Pin,
}

/// The files that a git revision has in place of the working tree's: path from the project root → digest, None if
/// absent.
pub type Revision = BTreeMap<String, Option<String>>;

/// What identifies the content in the manifest.
#[derive(Debug, Clone)]
enum Pin {
    File {
        shown: String,
        /// The digest at a revision, in place of the file on disk.
        digest: Option<String>,
    },
    /// Only the files in `names`, unless it is empty.
    Folder {
        shown: String,
        names: &'static [&'static str],
        /// Files of a revision, in place of those on disk.
        revised: Revision,
    },
    /// Files at any depth below a folder.
    Tree { tree: Tree, root: PathBuf, revised: Revision },
    /// The origin pins the content, for example by a commit.
    Identity(String),
    /// Not on this machine; its content is unknown until it is downloaded.
    Distant { reference: String, what: What },
}

/// An input that does not exist.
#[derive(Debug, Clone)]
pub struct Missing {
    /// Index of the instance that needs it.
    pub at: usize,
    /// `data/train.csv does not exist`.
    pub why: String,
    pub diagnostic: Diagnostic,
}

impl Missing {
    fn new(at: usize, instance: &Instance, key: &str, path: &str, why: &str) -> Self {
        let diagnostic = Diagnostic::new(why).at(&place_of(instance, key, path));
        Self { at, why: why.into(), diagnostic }
    }
}

/// The external inputs of a pipeline's instances.
#[derive(Debug)]
pub struct Externals {
    /// By instance.
    pub found: Vec<Vec<Found>>,
    /// In the order of the instances.
    missing: Vec<Missing>,
}

impl Found {
    /// The manifest lines of the content.
    pub fn lines(&self, stats: &StatCache) -> std::io::Result<Manifest> {
        let mut lines = Manifest::default();
        match &self.pin {
            Pin::Identity(identity) => lines.push(self.content_label(), identity.clone()),
            Pin::Distant { .. } => {}
            Pin::Tree { tree, root, revised } => {
                let mut all = revised.clone();
                for name in if tree.dir(root).is_dir() { tree.files(root)? } else { Vec::new() } {
                    if !revised.contains_key(&name) {
                        let digest = stats.digest(&tree.dir(root).join(&name))?;
                        all.insert(name, Some(digest));
                    }
                }
                all.retain(|_, digest| digest.is_some());
                let digests = all.iter().filter_map(|(name, digest)| Some((name, digest.as_ref()?)));
                if all.len() <= MOST_LINES {
                    digests.for_each(|(name, digest)| lines.push(format!("file {}", tree.shown(name)), digest.clone()));
                } else {
                    let mut whole = blake3::Hasher::new();
                    for (name, digest) in digests {
                        whole.update(name.as_bytes()).update(b"\0").update(digest.as_bytes()).update(b"\n");
                    }
                    let label = format!("file {} ({} files)", tree.shown("**"), all.len());
                    lines.push(label, whole.finalize().to_hex().to_string());
                }
            }
            Pin::File { shown, digest } => {
                let digest = digest.clone().map_or_else(|| stats.digest(&self.path), Ok)?;
                lines.push(format!("file {shown}"), digest);
            }
            Pin::Folder { shown, names, revised } => {
                let mut all = revised.clone();
                for file in if self.path.is_dir() { files_in(&self.path, names)? } else { Vec::new() } {
                    let name = file.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
                    if !revised.contains_key(&name) {
                        all.insert(name, Some(stats.digest(&file)?));
                    }
                }
                for (name, digest) in all {
                    digest.into_iter().for_each(|digest| lines.push(format!("file {shown}/{name}"), digest));
                }
            }
        }
        Ok(lines)
    }

    /// The manifest label of content that its origin pins.
    pub fn content_label(&self) -> String {
        format!("{} content", self.name)
    }

    /// The reference to download before the content is known.
    pub fn distant(&self) -> Option<&str> {
        match &self.pin {
            Pin::Distant { reference, .. } => Some(reference),
            _ => None,
        }
    }
}

/// The files directly in a folder, sorted: those in `names`, or all without a leading dot if `names` is empty.
fn files_in(dir: &Path, names: &[&str]) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let counts = if names.is_empty() { !name.starts_with('.') } else { names.contains(&name.as_ref()) };
        if counts && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Where to look for inputs.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    pub root: &'a Path,
    pub origins: &'a [Origin],
    pub revision: &'a Revision,
}

impl Externals {
    /// Find on this machine what the needed instances read; what an origin already holds locally counts as found.
    pub fn find(pipeline: &Pipeline, needed: &[bool], lookup: Lookup<'_>) -> Self {
        let Lookup { root, origins, .. } = lookup;
        let mut all = Self { found: vec![Vec::new(); pipeline.instances.len()], missing: Vec::new() };
        // Thousands of instances may read the same file.
        let mut seen: HashMap<(String, What), Result<Pin, Absent>> = HashMap::new();
        let mut held: HashMap<(String, What), Result<Option<Fetched>, String>> = HashMap::new();
        for (at, instance) in pipeline.instances.iter().enumerate().filter(|(at, _)| needed[*at]) {
            for external in instance.externals() {
                if let Some(origin) = origin_of(&external.path, origins) {
                    let known = held
                        .entry((external.path.clone(), external.what))
                        .or_insert_with_key(|(name, what)| (origin.held)(name, *what).map_err(|e| format!("{e:#}")));
                    match known {
                        Ok(fetched) => all.found[at].push(distant(external, fetched.as_ref())),
                        Err(why) => all.missing.push(Missing::new(at, instance, &external.name, &external.path, why)),
                    }
                    continue;
                }
                let known =
                    seen.entry((external.path.clone(), external.what)).or_insert_with(|| local(&external, lookup));
                match known {
                    Ok(pin) => {
                        let path = root.join(&external.path);
                        all.found[at].push(Found { name: external.name, path, pin: pin.clone() });
                    }
                    Err(absent) => all.missing.push(absent.missing(at, instance, &external)),
                }
            }
        }
        all
    }

    /// Download what is not on this machine, each reference once.
    pub fn fetch(&mut self, pipeline: &Pipeline, origins: &[Origin], observer: &dyn Observer) {
        let fetched = self.fetched(origins, observer);
        let mut reported: HashMap<(String, What), Missing> = HashMap::new();
        for (at, all) in self.found.iter_mut().enumerate() {
            for found in all.iter_mut() {
                let Pin::Distant { reference, what } = &found.pin else { continue };
                let key = (reference.clone(), *what);
                match fetched.get(&key) {
                    Some(Ok(fetched)) => {
                        (found.path, found.pin) = (fetched.dir.clone(), pin(fetched, reference, *what))
                    }
                    Some(Err(why)) => {
                        let new = || Missing::new(at, &pipeline.instances[at], &found.name, reference, why);
                        // Report each reference once, even if several instances need it.
                        let first = reported.entry(key).or_insert_with(new).clone();
                        self.missing.push(Missing { at, ..first });
                    }
                    None => {}
                }
            }
        }
        self.missing.sort_by_key(|m| m.at);
    }

    /// The result of each download.
    fn fetched(&self, origins: &[Origin], observer: &dyn Observer) -> HashMap<(String, What), Result<Fetched, String>> {
        let mut wanted: Vec<(&String, What)> = Vec::new();
        for found in self.found.iter().flatten() {
            match &found.pin {
                Pin::Distant { reference, what } if !wanted.contains(&(reference, *what)) => {
                    wanted.push((reference, *what));
                }
                _ => {}
            }
        }
        // Download whole folders first: an input that needs only some files of one then finds them here.
        wanted.sort_by_key(|(_, what)| matches!(what, What::Files(_)));
        let mut all = HashMap::new();
        for (reference, what) in wanted {
            let Some(origin) = origin_of(reference, origins) else { continue };
            // An earlier download of the same reference may have brought it.
            let result = match (origin.held)(reference, what) {
                Ok(Some(fetched)) => Ok(fetched),
                _ => {
                    observer.event(&Event::Fetching { reference: reference.clone() });
                    let result = (origin.fetch)(reference, what, observer);
                    if let Ok(Fetched { identity, .. }) = &result {
                        let (reference, identity) = (reference.clone(), identity.clone());
                        observer.event(&Event::Fetched { reference, identity });
                    }
                    result
                }
            };
            all.insert((reference.clone(), what), result.map_err(|e| format!("{e:#}")));
        }
        all
    }

    /// The missing inputs of one instance.
    pub fn missing(&self, at: usize) -> &[Missing] {
        let from = self.missing.partition_point(|m| m.at < at);
        let to = self.missing.partition_point(|m| m.at <= at);
        &self.missing[from..to]
    }

    /// All missing inputs, as errors of the pipeline file.
    pub fn complete(&self) -> Result<(), Diagnostics> {
        match self.missing.as_slice() {
            [] => Ok(()),
            missing => Err(Diagnostics::new(missing.iter().map(|m| m.diagnostic.clone()).collect())),
        }
    }
}

fn origin_of<'a>(path: &str, origins: &'a [Origin]) -> Option<&'a Origin> {
    origins.iter().find(|r| path.starts_with(r.prefix))
}

fn distant(external: External, held: Option<&Fetched>) -> Found {
    let External { name, path: reference, what, .. } = external;
    match held {
        Some(fetched) => Found { name, path: fetched.dir.clone(), pin: pin(fetched, &reference, what) },
        None => Found { name, path: PathBuf::from(&reference), pin: Pin::Distant { reference, what } },
    }
}

/// What identifies a downloaded folder in the manifest.
fn pin(fetched: &Fetched, reference: &str, what: What) -> Pin {
    let names = if let What::Files(names) = what { names } else { &[] };
    match &fetched.identity {
        Some(identity) => Pin::Identity(identity.clone()),
        None => Pin::Folder { shown: reference.into(), names, revised: Revision::new() },
    }
}

/// A problem with a path, independent of the instance that reads it.
#[derive(Debug, Clone)]
struct Absent {
    shown: String,
    /// Follows the path in a message: `does not exist`.
    state: String,
    label: String,
    help: String,
}

impl Absent {
    fn missing(&self, at: usize, instance: &Instance, external: &External) -> Missing {
        let Self { shown, state, label, help } = self;
        let diagnostic = Diagnostic::new(format!("stage `{}` reads `{shown}`, which {state}", instance.name))
            .at(&place_of(instance, external.key, &external.path))
            .label(label)
            .help(help);
        Missing { at, why: format!("`{shown}` {state}"), diagnostic }
    }
}

/// Whether an input includes the file at this path from the project root.
pub(crate) fn reads(external: &External, path: &str) -> bool {
    let mine: Vec<&str> = external.path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let theirs: Vec<&str> = path.split('/').collect();
    match (external.what, theirs.split_last()) {
        (What::File, _) => mine == theirs,
        (What::Folder, Some((name, dir))) => mine == dir && !name.starts_with('.'),
        (What::Files(names), Some((name, dir))) => mine == dir && names.contains(name),
        (What::Tree, _) => mine == theirs || inside(&external.path, path).is_some(),
        (_, None) => false,
    }
}

/// The name in a tree of the file at this path from the project root.
fn inside(tree: &str, path: &str) -> Option<String> {
    let tree = Tree::of(tree.trim_start_matches("./")).ok()?;
    let name = if tree.base.is_empty() { path } else { path.strip_prefix(&tree.base)?.strip_prefix('/')? };
    tree.includes(name).then(|| name.to_owned())
}

fn local(external: &External, Lookup { root, origins, revision }: Lookup<'_>) -> Result<Pin, Absent> {
    let written = Path::new(&external.path);
    let shown = external.path.trim_end_matches('/').to_string();
    if written.is_relative() && escapes(written) {
        return Err(Absent {
            shown,
            state: "is outside the project".into(),
            label: "outside the project root".into(),
            help: "use an absolute path to read files outside the project".into(),
        });
    }
    let path = root.join(written);
    let several = external.what == What::Tree && (path.is_dir() || (is_pattern(&external.path) && !path.exists()));
    if several {
        return tree(root, revision, shown);
    }
    let name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_string();
    let revised: Revision =
        revision.iter().filter(|(p, _)| reads(external, p)).map(|(p, digest)| (name(p), digest.clone())).collect();
    let is_revised = revised.values().any(Option::is_some);
    let (is_right, wanted) = match external.what {
        What::File | What::Tree => (is_revised || (revised.is_empty() && path.is_file()), "file"),
        What::Folder | What::Files(_) => (is_revised || path.is_dir(), "folder"),
    };
    if !is_right {
        let state =
            if path.exists() && revised.is_empty() { format!("is not a {wanted}") } else { "does not exist".into() };
        let near = near(&path).map(|near| format!("`{}`", written.with_file_name(near).display()));
        let distant =
            named(&external.path, origins).filter(|_| external.what != What::File && !has_parent(written, root));
        let meant: Vec<String> = near.into_iter().chain(distant.map(|name| format!("`{name}`"))).collect();
        let help = match meant.is_empty() {
            false => format!("did you mean {}?", meant.join(" or ")),
            true => format!("paths are relative to the project root, {}", root.display()),
        };
        return Err(Absent { shown, state, label: format!("no such {wanted}"), help });
    }
    Ok(match external.what {
        What::File | What::Tree => Pin::File { shown, digest: revised.into_values().next().flatten() },
        What::Folder => Pin::Folder { shown, names: &[], revised },
        What::Files(names) => Pin::Folder { shown, names, revised },
    })
}

/// A folder with all its files, or the files of a pattern.
fn tree(root: &Path, revision: &Revision, shown: String) -> Result<Pin, Absent> {
    let absent = |state: String, help: &str| {
        let label = if is_pattern(&shown) { "no such files" } else { "no files" };
        Absent { shown: shown.clone(), state, label: label.into(), help: help.into() }
    };
    let tree = Tree::of(shown.trim_start_matches("./")).map_err(|why| {
        absent(format!("is not a pattern: {why}"), "a pattern is a path with `*`, `**`, `?`, `[ab]` or `{a,b}`")
    })?;
    let revised: Revision =
        revision.iter().filter_map(|(path, digest)| Some((inside(&shown, path)?, digest.clone()))).collect();
    let files = if tree.dir(root).is_dir() { tree.files(root) } else { Ok(Vec::new()) };
    let files = files.map_err(|error| absent(format!("cannot be read: {error}"), "check its permissions"))?;
    if files.is_empty() && !revised.values().any(Option::is_some) {
        let state = if is_pattern(&shown) { "matches no file" } else { "is an empty folder" };
        return Err(absent(state.into(), &format!("paths are relative to the project root, {}", root.display())));
    }
    Ok(Pin::Tree { tree, root: root.to_owned(), revised })
}

/// `hf:NAME` or `hf:OWNER/NAME` for a path that looks like such a name without its prefix.
fn named(path: &str, origins: &[Origin]) -> Option<String> {
    let is_plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let (name, _) = path.split_once('@').unwrap_or((path, ""));
    let is_name = name.split('/').count() <= 2 && name.split('/').all(is_plain);
    origins.first().filter(|_| is_name).map(|origin| format!("{}{path}", origin.prefix))
}

/// Whether the folder that a path with several parts begins with exists: then only its end is wrong.
fn has_parent(path: &Path, root: &Path) -> bool {
    path.components().count() > 1 && path.components().next().is_some_and(|first| root.join(first).is_dir())
}

/// The name of an existing file similar to a missing one.
fn near(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let names: Vec<String> = std::fs::read_dir(path.parent()?)
        .ok()?
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    closest(name, names.iter().map(String::as_str)).map(str::to_string)
}

/// Whether a relative path leads out of the folder it starts from.
fn escapes(path: &Path) -> bool {
    let mut depth = 0i32;
    path.components().any(|c| {
        match c {
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
        depth < 0
    })
}

/// The place of a path in the pipeline file: its string if the file contains it, else its parameter, else the stage.
fn place_of(instance: &Instance, key: &str, path: &str) -> Place {
    fn search<'a>(value: &'a Value, text: &str) -> Option<&'a Place> {
        match &value.node {
            Node::String(s) if s == text => Some(&value.place),
            Node::Array(all) => all.iter().find_map(|v| search(v, text)),
            Node::Table(t) => t.0.iter().find_map(|i| search(&i.value, text)),
            _ => None,
        }
    }
    // `sources[0]` is an element of the parameter `sources`.
    let key = key.split(['[', '.']).next().unwrap_or(key);
    match instance.table.get(key) {
        Some(item) => search(&item.value, path).unwrap_or(&item.value.place).clone(),
        None => instance.place.clone(),
    }
}
