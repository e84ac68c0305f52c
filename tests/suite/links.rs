//! Checks that the links between the documents lead to files that exist, and that the README quotes the first pipeline.

use std::fs;
use std::path::{Path, PathBuf};

/// The documents at the root and in `docs` and `benches`.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.to_path_buf(), root.join("docs"), root.join("benches")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|file| file.unwrap().path());
    let mut all: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    all.sort();
    all
}

/// The targets of `[text](target)`.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn every_link_between_documents_leads_to_a_file() {
    let mut dead = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in targets(&text).filter(|target| !target.contains("://")) {
            let path = target.split('#').next().unwrap();
            if !path.is_empty() && !document.parent().unwrap().join(path).exists() {
                dead.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert_eq!(dead, Vec::<String>::new());
}

#[test]
fn the_index_lists_every_document() {
    let index = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/README.md")).unwrap();
    for document in documents().iter().filter(|path| path.parent().unwrap().ends_with("docs")) {
        let name = document.file_name().unwrap().to_string_lossy();
        assert!(name == "README.md" || index.contains(&format!("]({name})")), "{name} is not in docs/README.md");
    }
}

#[test]
fn the_readme_quotes_the_first_pipeline() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let pipeline = read("pipelines/first.toml");
    let lines = pipeline.split_once('\n').unwrap().1;
    assert_eq!(lines.lines().count(), 5);
    assert!(read("README.md").contains(&format!("```toml\n{lines}```")));
}
