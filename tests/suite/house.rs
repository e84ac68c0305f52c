//! Checks the rules of the source tree.

use std::fs;
use std::path::{Path, PathBuf};

use pipe::stages::KINDS;

fn sources(below: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open = vec![root.join(below)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root).unwrap().to_path_buf(), text));
        }
    }
    found.sort();
    found
}

/// Files compiled only for tests.
fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let is_below = path.components().any(|c| c.as_os_str() == "tests");
    is_below || stem.ends_with("tests") || ["parity", "fixture", "server"].contains(&stem.as_str())
}

/// Lines of code: without comments, and without modules and items for tests, wherever they stand in the file.
fn code(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text.lines();
    while let Some(line) = rest.next() {
        if line.trim_start() != "#[cfg(test)]" {
            lines.push(line);
            continue;
        }
        // rustfmt ends an item at the indentation at which it begins.
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends =
            |l: &str| l.strip_prefix(indent).is_some_and(|l| l == "}" || l.ends_with(';') && !l.starts_with(' '));
        rest.by_ref().find(|l| ends(l));
    }
    lines.retain(|l| !l.trim_start().starts_with("//"));
    lines
}

#[test]
fn code_goes_on_after_a_module_of_tests() {
    let text = "use a;\n#[cfg(test)]\n#[path = \"b.rs\"]\nmod tests;\nfn b() {}\n#[cfg(test)]\nmod more {\n    fn c() {\n    }\n}\n// d\nfn e() {}\n";
    assert_eq!(code(text), ["use a;", "fn b() {}", "fn e() {}"]);
}

#[track_caller]
fn nowhere(needles: &[&str], allowed: impl Fn(&Path) -> bool) {
    let mut offenders = Vec::new();
    for (path, text) in sources("src").into_iter().filter(|(p, _)| !is_test(p) && !allowed(p)) {
        for line in code(&text) {
            offenders.extend(
                needles
                    .iter()
                    .filter(|n| line.contains(**n))
                    .map(|n| format!("{}: {n}: {}", path.display(), line.trim())),
            );
        }
    }
    assert_eq!(offenders, Vec::<String>::new());
}

/// The names in the `[dependencies]` of a Cargo.toml.
fn dependencies(manifest: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest)).unwrap();
    let lines = text.lines().skip_while(|l| *l != "[dependencies]").skip(1).take_while(|l| !l.starts_with('['));
    let lines = lines.filter(|l| !l.starts_with('#'));
    lines.filter_map(|l| Some(l.split(['.', ' ', '=']).next()?.to_string())).filter(|l| !l.is_empty()).collect()
}

/// With this, the compiler holds the direction of imports between the crates.
#[test]
fn crates_depend_one_way_and_only_pipe_ml_on_burn() {
    let lacks = |manifest: &str, names: &[&str]| {
        let all = dependencies(manifest);
        assert!(all.len() > 5, "{manifest}: {all:?}");
        for name in names {
            assert!(!all.iter().any(|d| d == name), "{manifest} depends on {name}");
        }
    };
    let learning = ["burn", "half", "gemm", "safetensors", "tokenizers", "hf-hub", "ureq", "arrow-array", "parquet"];
    lacks("src/engine/Cargo.toml", &[&learning[..], &["pipe-ml", "pipe", "clap", "anstream"]].concat());
    lacks("src/ml/Cargo.toml", &["pipe-engine", "pipe", "clap", "anstream", "rusqlite", "petgraph"]);
    lacks("Cargo.toml", &[&learning[..], &["rusqlite", "petgraph"]].concat());
}

#[test]
fn stages_do_not_know_the_program_and_reports_do_not_know_machine_learning() {
    nowhere(&["crate::cli", "crate::report", "crate::error"], |p| !p.starts_with("src/stages"));
    nowhere(&["pipe_ml::"], |p| !p.starts_with("src/cli") && !p.starts_with("src/report"));
}

#[test]
fn only_report_and_cli_print() {
    nowhere(&["println!(", "eprintln!(", "print!(", "eprint!("], |p| {
        p.starts_with("src/report") || p.starts_with("src/cli")
    });
}

#[test]
fn everything_printed_leaves_through_the_module_that_masks_secrets() {
    let is_elsewhere = |p: &Path| !(p.starts_with("src/report") || p.starts_with("src/cli"));
    // `init` writes a file.
    let may = |p: &Path| is_elsewhere(p) || p.ends_with("report/secret.rs") || p.ends_with("init.rs");
    nowhere(&["write_all(", "writeln!(", "write!(std", "println!(", "eprintln!(", "print!("], may);
}

#[test]
fn devices_are_chosen_never_defaulted_and_backends_named_in_one_file() {
    nowhere(&["Device::default()"], |_| false);
    nowhere(&["cfg(feature", "cfg!(feature"], |p| p.ends_with("compute/device.rs"));
}

#[test]
fn nothing_is_left_unfinished() {
    nowhere(&["todo!(", "unimplemented!(", "dbg!("], |_| false);
}

#[test]
fn every_file_opens_with_one_sentence_about_itself() {
    for (path, text) in sources("src").into_iter().chain(sources("tests")).chain(sources("examples")) {
        assert!(text.starts_with("//! "), "{}", path.display());
    }
}

#[test]
fn a_mod_file_only_declares_and_re_exports() {
    for (path, text) in sources("src") {
        if path.ends_with("mod.rs") && !is_test(&path) {
            let logic: Vec<&str> =
                code(&text).into_iter().filter(|l| l.contains("fn ") || l.contains("impl ")).collect();
            assert_eq!(logic, Vec::<&str>::new(), "{}", path.display());
        }
    }
}

#[test]
fn no_file_is_longer_than_five_hundred_lines() {
    for (path, text) in sources("src") {
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines; split it by noun", path.display());
    }
}

#[test]
fn every_kind_has_a_file_and_docs_for_itself_and_each_parameter() {
    for kind in KINDS {
        let [file, folder] = [format!("src/stages/{}.rs", kind.name), format!("src/stages/{}/kind.rs", kind.name)];
        let exists = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(path).is_file();
        assert!(exists(&file) != exists(&folder), "{file} or {folder}");
        let schema = (kind.schema)();
        let properties = schema.get("properties").and_then(|p| p.as_object()).cloned().unwrap_or_default();
        for (name, property) in &properties {
            assert!(property.get("description").is_some(), "{}: {name} is not documented", kind.name);
        }
        for name in kind.operational.iter().chain(&kind.main) {
            assert!(properties.contains_key(*name), "{}: no parameter {name}", kind.name);
        }
    }
    // And nothing else is beside them.
    for (path, _) in sources("src/stages") {
        let name = path.strip_prefix("src/stages").unwrap().iter().next().unwrap().to_string_lossy();
        let is_kind = KINDS.iter().any(|k| k.name == name.trim_end_matches(".rs"));
        assert!(is_kind || ["mod.rs", "shared"].contains(&&*name), "{}", path.display());
    }
    let mut names: Vec<&str> = KINDS.iter().map(|k| k.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), KINDS.len());
}

#[test]
fn the_shipped_pipelines_resolve_with_every_profile() {
    use pipe_engine::declare::resolve::resolve;
    use pipe_engine::judge::project::read_source;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    for file in fs::read_dir(dir).unwrap() {
        let source = read_source(&file.unwrap().path()).unwrap();
        let profiles: Vec<&str> = if source.text.contains("[profile.full") { vec!["full"] } else { Vec::new() };
        for profile in std::iter::once(None).chain(profiles.into_iter().map(Some)) {
            if let Err(e) = resolve(&source, profile, &[], KINDS) {
                panic!("{} {profile:?}: {:#?}", source.name, e.0);
            }
        }
    }
}

#[test]
fn the_committed_schema_is_that_of_the_kinds() {
    use pipe::cli::{Build, execute};
    let mut out = Vec::new();
    let build = Build { kinds: KINDS, origins: &[], gpus: pipe::stages::gpus };
    execute(["pipe", "schema"], build, &mut out).unwrap();
    let committed = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/pipeline.json")).unwrap();
    assert!(committed == out, "run `pipe schema > schema/pipeline.json`");
}
