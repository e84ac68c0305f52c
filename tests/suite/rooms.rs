//! Checks that the rooms of `pipe-engine` and `pipe-ml` import only from rooms before them.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of a crate in the order of their imports: a room may use those before it. `diff` and `run` use nothing of each other.
const ENGINE: [&str; 7] = ["text", "store", "contract", "declare", "judge", "run", "diff"];
const ML: [&str; 11] =
    ["watch", "compute", "files", "text", "model", "hub", "judge", "compress", "train", "onnx", "search"];

/// Files that are compiled only for tests, which may use anything.
pub fn is_test(path: &Path) -> bool {
    let name = |part: std::path::Component| part.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
    path.components().map(name).any(|part| part.ends_with("tests") || ["parity", "fixture", "server"].contains(&&*part))
}

pub fn sources(below: &Path) -> Vec<(PathBuf, String)> {
    let mut open = vec![below.to_owned()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(below).unwrap().to_owned(), text));
        }
    }
    found.sort();
    found
}

/// The text without comments and without what follows `#[cfg(test)]`: a statement, or a block to its closing brace.
pub fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            code += line;
            code.push('\n');
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let is_end =
            |line: &str| line.len() > indent && !line[indent..].starts_with([' ', '#']) && line.ends_with([';', '}']);
        lines.find(|line| is_end(line));
    }
    code
}

/// The names that follow `crate::`, also those in braces.
fn rooms_used(code: &str) -> Vec<String> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let name = |text: &str| text.chars().take_while(|letter| is_name(*letter)).collect::<String>();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(is_name) {
            continue; // A crate whose name ends with `crate`.
        }
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.push(name(rest));
            continue;
        };
        let mut depth = 1;
        let mut starts = true;
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => starts = depth == 1,
                _ if letter.is_whitespace() => {}
                _ if starts => {
                    found.push(name(&list[at..]));
                    starts = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

/// Imports of a crate that go from a room to a later one.
fn upward(folder: &str, order: &[&str]) -> Vec<String> {
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let place = |room: &str| order.iter().position(|other| *other == room);
    let mut found = Vec::new();
    for (path, text) in sources(&below).into_iter().filter(|(path, _)| !is_test(path)) {
        let room = path.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_owned();
        if room == "lib" {
            continue;
        }
        let Some(own) = place(&room) else {
            found.push(format!("{folder}/{}: no room of this test's list", path.display()));
            continue;
        };
        let code = code(&text);
        if code.contains("super::super::") {
            found.push(format!("{folder}/{}: write `crate::` instead of `super::super::`", path.display()));
        }
        for used in rooms_used(&code) {
            match place(&used) {
                Some(other) if other > own => found.push(format!("{folder}/{} uses {used}", path.display())),
                Some(_) => {}
                None => found.push(format!("{folder}/{} uses {used}, which is no room", path.display())),
            }
        }
    }
    found
}

#[test]
fn rooms_of_the_engine_import_from_rooms_before_them() {
    assert_eq!(upward("engine", &ENGINE), Vec::<String>::new());
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine/diff");
    for (path, text) in sources(&below) {
        assert!(!rooms_used(&code(&text)).contains(&"run".to_owned()), "diff/{} uses run", path.display());
    }
}

#[test]
fn rooms_of_ml_import_from_rooms_before_them() {
    assert_eq!(upward("ml", &ML), Vec::<String>::new());
}

#[test]
fn imports_are_found_in_every_form_and_those_of_tests_are_not() {
    let text = "use crate::text::{value, diagnostic};\n\
                // crate::comment\n\
                use crate::{\n    store::{cache, entry},\n    judge,\n};\n\
                #[cfg(test)]\nuse crate::left_out;\n\
                fn f() -> crate::run::State {\n    mycrate::other()\n}\n\
                #[cfg(test)]\nmod tests {\n    use crate::left_out;\n    fn g() {}\n}\n\
                pub(crate) use crate::diff::edges;\n";
    assert_eq!(rooms_used(&code(text)), ["text", "store", "judge", "run", "diff"]);
}
