//! Checks that the files of a crate do not import each other in circles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::rooms::{code, is_test, sources};

/// The only circle: a schedule runs stages, a stage may run trials, and trials are scheduled like any stages.
const ALLOWED: [&str; 2] = ["engine/run/schedule.rs", "engine/run/subrun.rs"];

/// Whether a file is of the crate.
type Ours<'a> = &'a dyn Fn(&Path) -> bool;

type Imports = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

/// The paths that a `use` names, each whole: `a::{b, c::{d, e}}` gives `a::b`, `a::c::d` and `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let Some((start, list)) = tree.split_once('{') else { return vec![tree.into()] };
    let list = list.rsplit_once('}').map_or(list, |(list, _)| list);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(letter);
    }
    parts.iter().filter(|part| !part.is_empty()).flat_map(|part| expand(&format!("{start}{part}"))).collect()
}

/// All paths in the code that start with `crate::` or `super::`.
fn paths(code: &str) -> Vec<String> {
    let uses = code.split(';').filter_map(|statement| statement.rsplit_once("use ").map(|(_, tree)| tree));
    let mut found: Vec<String> = uses.flat_map(|tree| expand(&tree.split_whitespace().collect::<String>())).collect();
    for root in ["crate::", "super::"] {
        for (at, _) in code.match_indices(root) {
            let is_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
            found.push(code[at..].chars().take_while(|letter| is_path(*letter)).collect());
        }
    }
    found
}

/// Which file imports which, without `mod.rs` files, which only pass names on.
fn imports(below: &Path, is_ours: Ours<'_>) -> Imports {
    let all: Vec<(PathBuf, String)> =
        sources(below).into_iter().filter(|(path, _)| is_ours(path) && !is_test(path)).collect();
    let files: BTreeSet<PathBuf> = all.iter().map(|(path, _)| path.with_extension("")).collect();
    let mut imports = Imports::new();
    for (path, text) in all.iter().filter(|(path, _)| !path.ends_with("mod.rs")) {
        let own = path.with_extension("");
        let to = imports.entry(own.clone()).or_default();
        for used in paths(&code(text)) {
            let mut names = used.split("::");
            let mut at = match names.next() {
                Some("crate") => PathBuf::new(),
                Some("super") => own.parent().unwrap().to_path_buf(),
                _ => continue,
            };
            for name in names {
                at.push(name);
                if files.contains(&at) {
                    to.insert(at.clone());
                }
            }
        }
        to.remove(&own);
    }
    imports
}

/// The files that reach themselves.
fn in_circles(imports: &Imports) -> Vec<PathBuf> {
    let reaches_itself = |start: &PathBuf| {
        let (mut open, mut seen) = (vec![start], BTreeSet::new());
        while let Some(file) = open.pop() {
            for next in imports.get(file).into_iter().flatten() {
                if next == start {
                    return true;
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        false
    };
    imports.keys().filter(|file| reaches_itself(file)).cloned().collect()
}

#[test]
fn files_import_each_other_in_one_circle_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let of_program = |path: &Path| !path.starts_with("engine") && !path.starts_with("ml");
    let crates: [(&str, Ours<'_>); 3] = [("engine", &|_| true), ("ml", &|_| true), ("", &of_program)];
    let mut found = Vec::new();
    for (folder, is_ours) in crates {
        let all = imports(&root.join(folder), is_ours);
        assert!(all.values().map(BTreeSet::len).sum::<usize>() > 20, "{folder}: the imports were not found");
        found.extend(
            in_circles(&all).into_iter().map(|file| Path::new(folder).join(file).display().to_string() + ".rs"),
        );
    }
    assert_eq!(found, ALLOWED);
}

#[test]
fn circles_are_found_through_several_files_and_nested_imports() {
    assert_eq!(expand("a::{b,c::{d,e}}"), ["a::b", "a::c::d", "a::c::e"]);
    let of = |all: &[(&str, &[&str])]| -> Imports {
        all.iter().map(|(from, to)| ((*from).into(), to.iter().map(PathBuf::from).collect())).collect()
    };
    let all = of(&[("a", &["b"]), ("b", &["c"]), ("c", &["a", "d"]), ("d", &[])]);
    assert_eq!(in_circles(&all), ["a", "b", "c"].map(PathBuf::from));
}
