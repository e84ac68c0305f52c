//! Files below a folder, or those that match a pattern: what an input that may be several files reads.

use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Deeper than people nest folders: a link in a circle ends here.
const DEEPEST: usize = 16;

/// A folder with everything below it, or the files below it that match a pattern.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    /// As in the pipeline file; empty for the project's root.
    pub base: String,
    /// Relative to the folder.
    pub pattern: Option<GlobSet>,
}

/// Whether a path is a pattern such as `data/*.csv`.
pub(crate) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

impl Tree {
    /// The tree that a path in a pipeline file means; an error says what is wrong with its pattern.
    pub(crate) fn of(path: &str) -> Result<Self, String> {
        let path = path.trim_end_matches('/');
        if !is_pattern(path) {
            return Ok(Self { base: path.into(), pattern: None });
        }
        let parts: Vec<&str> = path.split('/').collect();
        let first = parts.iter().position(|part| is_pattern(part)).unwrap_or(0);
        let glob = GlobBuilder::new(&parts[first..].join("/")).literal_separator(true).build();
        // The matcher of a single pattern panics if the pattern is too large to compile; a set returns an error.
        let glob = glob.and_then(|glob| GlobSetBuilder::new().add(glob).build());
        let glob = glob.map_err(|error| error.kind().to_string())?;
        Ok(Self { base: parts[..first].join("/"), pattern: Some(glob) })
    }

    /// The folder of the tree.
    pub(crate) fn dir(&self, root: &Path) -> PathBuf {
        root.join(if self.base.is_empty() { "." } else { &self.base })
    }

    /// Whether it includes the file with this name from its folder.
    pub(crate) fn includes(&self, name: &str) -> bool {
        let is_hidden = name.split('/').any(|part| part.starts_with('.'));
        !is_hidden && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(name))
    }

    /// Its files by their names from the folder, sorted.
    pub(crate) fn files(&self, root: &Path) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut open = vec![(self.dir(root), String::new(), 0)];
        while let Some((dir, prefix, depth)) = open.pop() {
            for entry in std::fs::read_dir(&dir)? {
                let entry = entry?;
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                if entry.file_name().to_string_lossy().starts_with('.') {
                    continue;
                }
                let path = entry.path();
                if path.is_dir() {
                    if depth < DEEPEST {
                        open.push((path, format!("{name}/"), depth + 1));
                    }
                } else if self.includes(&name) {
                    found.push(name);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The path of a file as a manifest shows it.
    pub(crate) fn shown(&self, name: &str) -> String {
        if self.base.is_empty() { name.into() } else { format!("{}/{name}", self.base) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_the_files_that_its_pattern_means() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["data/a.csv", "data/b.csv", "data/.c.csv", "data/deep/d.csv", "data/e.txt", "f.csv"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let files = |path: &str| Tree::of(path).unwrap().files(dir.path()).unwrap();
        assert_eq!(files("data"), ["a.csv", "b.csv", "deep/d.csv", "e.txt"]);
        assert_eq!(files("data/*.csv"), ["a.csv", "b.csv"]);
        assert_eq!(files("data/**/*.csv"), ["a.csv", "b.csv", "deep/d.csv"]);
        assert_eq!(files("*.csv"), ["f.csv"]);
        assert_eq!(Tree::of("data/*.csv").unwrap().shown("a.csv"), "data/a.csv");
        assert!(Tree::of("data/[").is_err());
    }
}
