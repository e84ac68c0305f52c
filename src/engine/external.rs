//! Files and folders outside the cache that results depend on: found, fetched and digested before the first stage.

use std::collections::{BTreeMap, HashMap, btree_map};
use std::path::{Component, Path, PathBuf};

use super::diagnostic::{Diagnostic, Diagnostics, Place, closest};
use super::digest::StatCache;
use super::event::{Event, Observer};
use super::kind::{External, Remote, What};
use super::manifest::{Line, Manifest};
use super::resolve::{Instance, Pipeline};
use super::value::{Node, Value};

/// One external input of one instance, found on this machine.
#[derive(Debug, Clone)]
pub struct Found {
    pub name: String,
    pub path: PathBuf,
    pin: Pin,
    /// Files of another revision in place of those that lie there: name and digest, none for one that it lacks.
    revised: Vec<(String, Option<String>)>,
}

/// What a revision has in place of the working tree's files: by path from the project root, the digest if it is there.
pub type Revision = BTreeMap<String, Option<String>>;

/// What stands for the content in the manifest.
#[derive(Debug, Clone)]
enum Pin {
    File {
        shown: String,
    },
    /// Only the `names` where there are any.
    Folder {
        shown: String,
        names: &'static [&'static str],
    },
    /// Already pinned by its origin, such as a commit.
    Identity(String),
}

impl Found {
    /// The lines that the content gives to a manifest.
    pub fn lines(&self, stats: &StatCache) -> std::io::Result<Manifest> {
        let mut lines = Manifest::default();
        match &self.pin {
            Pin::Identity(identity) => lines.push(format!("{} content", self.name), identity.clone()),
            Pin::File { shown } => {
                let revised = self.revised.iter().find_map(|(_, digest)| digest.clone());
                lines.push(format!("file {shown}"), revised.map_or_else(|| stats.digest(&self.path), Ok)?);
            }
            Pin::Folder { shown, names } => {
                let mut digests: BTreeMap<String, Option<String>> = self.revised.iter().cloned().collect();
                for file in if self.path.is_dir() { files_in(&self.path, names)? } else { Vec::new() } {
                    let name = file.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
                    if let btree_map::Entry::Vacant(free) = digests.entry(name) {
                        free.insert(Some(stats.digest(&file)?));
                    }
                }
                for (name, digest) in digests {
                    lines.0.extend(digest.map(|value| Line { label: format!("file {shown}/{name}"), value }));
                }
            }
        }
        Ok(lines)
    }
}

/// Every file directly in a folder whose name does not start with a dot, sorted; only the `names` where there are any.
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

/// An input that cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
    /// A stage that needs it cannot run.
    Missing(String),
    /// It would be fetched first, and only then is its content known.
    Remote(String),
}

/// The external inputs of one instance as they are at a revision; nothing is fetched.
pub(super) fn look(
    instance: &Instance,
    root: &Path,
    remotes: &[Remote],
    revision: &Revision,
) -> Result<Vec<Found>, Absent> {
    let look_at = |external: &External| {
        if let Some(remote) = remotes.iter().find(|r| external.path.starts_with(r.prefix)) {
            let fetched = (remote.cached)(&external.path).ok_or_else(|| Absent::Remote(external.path.clone()))?;
            let pin = Pin::Identity(fetched.identity);
            return Ok(Found { name: external.name.clone(), path: fetched.dir, pin, revised: Vec::new() });
        }
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_string();
        let revised: Vec<(String, Option<String>)> =
            revision.iter().filter(|(p, _)| reads(external, p)).map(|(p, digest)| (name(p), digest.clone())).collect();
        let is_there = match external.what {
            _ if revised.iter().any(|(_, digest)| digest.is_some()) => true,
            What::File => revised.is_empty() && local(instance, external, root).is_ok(),
            What::Folder | What::Files(_) => local(instance, external, root).is_ok(),
        };
        if is_there {
            Ok(Found { revised, ..found(external, root) })
        } else {
            Err(Absent::Missing(external.path.clone()))
        }
    };
    instance.work.externals().iter().map(look_at).collect()
}

/// Whether an external input includes the file at a path from the project root.
pub(super) fn reads(external: &External, path: &str) -> bool {
    let mine: Vec<&str> = external.path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let theirs: Vec<&str> = path.split('/').collect();
    match (external.what, theirs.split_last()) {
        (What::File, _) => mine == theirs,
        (What::Folder, Some((name, dir))) => mine == dir && !name.starts_with('.'),
        (What::Files(names), Some((name, dir))) => mine == dir && names.contains(name),
        (_, None) => false,
    }
}

fn found(external: &External, root: &Path) -> Found {
    let shown = external.path.trim_end_matches('/').to_string();
    let pin = match external.what {
        What::File => Pin::File { shown },
        What::Folder => Pin::Folder { shown, names: &[] },
        What::Files(names) => Pin::Folder { shown, names },
    };
    Found { name: external.name.clone(), path: root.join(&external.path), pin, revised: Vec::new() }
}

/// Find all external inputs of the needed instances, by index; everything that is missing is reported at once.
///
/// Nothing is fetched while something local is wrong: a slip in a path must not cost a download.
pub fn find(
    pipeline: &Pipeline,
    needed: &[bool],
    root: &Path,
    remotes: &[Remote],
    observer: &dyn Observer,
) -> Result<Vec<Vec<Found>>, Diagnostics> {
    let mut problems = Vec::new();
    let mut all: Vec<Vec<Found>> = vec![Vec::new(); pipeline.instances.len()];
    let mut distant = Vec::new();
    for (at, instance) in pipeline.instances.iter().enumerate().filter(|(at, _)| needed[*at]) {
        for external in instance.work.externals() {
            match remotes.iter().find(|r| external.path.starts_with(r.prefix)) {
                Some(remote) => distant.push((at, external, remote)),
                None => match local(instance, &external, root) {
                    Ok(found) => all[at].push(found),
                    Err(d) => problems.push(d.at(&place_of(instance, &external))),
                },
            }
        }
    }
    if !problems.is_empty() {
        return Err(Diagnostics::new(problems));
    }
    // By reference: the folder and what pins it, or none once it has been complained about.
    let mut fetched: HashMap<String, Option<(PathBuf, String)>> = HashMap::new();
    for (at, external, remote) in distant {
        let result = match fetched.get(&external.path) {
            Some(known) => known.clone(),
            None => {
                observer.event(&Event::Fetching { reference: external.path.clone() });
                let result = (remote.fetch)(&external.path, observer);
                let known = result.map(|f| (f.dir, f.identity)).map_err(|e| {
                    let place = place_of(&pipeline.instances[at], &external);
                    problems.push(Diagnostic::new(format!("{e:#}")).at(&place));
                });
                fetched.entry(external.path.clone()).or_insert(known.ok()).clone()
            }
        };
        all[at].extend(result.map(|(path, identity)| Found {
            name: external.name,
            path,
            pin: Pin::Identity(identity),
            revised: Vec::new(),
        }));
    }
    if problems.is_empty() { Ok(all) } else { Err(Diagnostics::new(problems)) }
}

fn local(instance: &Instance, external: &External, root: &Path) -> Result<Found, Diagnostic> {
    let written = Path::new(&external.path);
    if written.is_relative() && escapes(written) {
        return Err(Diagnostic::new(format!("`{}` leaves the project", external.path))
            .label("outside the project root")
            .help("use an absolute path if that is meant"));
    }
    let path = root.join(written);
    let shown = external.path.trim_end_matches('/').to_string();
    let (is_right, wanted) = match external.what {
        What::File => (path.is_file(), "file"),
        What::Folder | What::Files(_) => (path.is_dir(), "folder"),
    };
    if !is_right {
        let state = if path.exists() { format!("is not a {wanted}") } else { "does not exist".into() };
        let d = Diagnostic::new(format!("stage `{}` reads `{shown}`, which {state}", instance.name))
            .label(format!("no such {wanted}"));
        return Err(match near(&path) {
            Some(near) => d.help(format!("did you mean `{}`?", written.with_file_name(near).display())),
            None => d.help(format!("paths start from the project root, {}", root.display())),
        });
    }
    Ok(found(external, root))
}

/// A file of a similar name beside a missing one.
fn near(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let names: Vec<String> = std::fs::read_dir(path.parent()?)
        .ok()?
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    closest(name, names.iter().map(String::as_str)).map(str::to_string)
}

/// Whether a relative path climbs above where it starts.
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

/// Where the path stands in the file: the very string if it is there, else its parameter, else the stage.
fn place_of(instance: &Instance, external: &External) -> Place {
    fn search<'a>(value: &'a Value, text: &str) -> Option<&'a Place> {
        match &value.node {
            Node::String(s) if s == text => Some(&value.place),
            Node::Array(all) => all.iter().find_map(|v| search(v, text)),
            Node::Table(t) => t.0.iter().find_map(|i| search(&i.value, text)),
            _ => None,
        }
    }
    match instance.table.get(external.key) {
        Some(item) => search(&item.value, &external.path).unwrap_or(&item.value.place).clone(),
        None => instance.place.clone(),
    }
}
