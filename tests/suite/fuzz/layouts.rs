//! Fuzzes folders: data sets that `save_to_disk` and the Hub's repositories hold, corpora of `preprocess`, texts by folder.

use std::fs;
use std::path::{Path, PathBuf};

use pipe_ml::text::data::declare::spec::{Source, Splitting};
use pipe_ml::text::data::{Spec, preprocess};
use pipe_ml::watch::Silent;
use proptest::prelude::*;

use super::changes::{changed, changes, config};
use super::source::read;

/// A README as data sets have it.
const README: &str = "---\nlanguage: en\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n  - split: test\n    path: [data/test-*, \"more/*.csv\"]\ndataset_info:\n- config_name: default\n  features:\n  - name: text\n    dtype: string\n  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': negative\n          '1': neutral\n---\n# Data\n";

const PIECES: &[&str] = &[
    "---\n",
    "configs:\n",
    "- config_name: a\n",
    "  data_files: data/*\n",
    "  data_files:\n  - split: train\n    path: data/train-*\n",
    "    path: [\"**\", \"?*\"]\n",
    "    path: {train: data/train-*}\n",
    "    path: ../../../etc/*\n",
    "dataset_info:\n",
    "  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': a\n",
    "        names: [a, b]\n",
    "a: &a [1, 2]\n",
    "b: *a\n",
    "? x\n: y\n",
    "{{{{{{",
    "[[[[[[",
    "|\n  text\n",
    "\t",
    "'",
    "\"",
    "!!binary aa\n",
    "%YAML 9.9\n",
    "\u{FEFF}",
    "data/{train,test}-*",
    "data/[!a-",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

fn corpus(to: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let rows: String = (0..30).map(|n| format!("some text {n},{}\n", ["up", "down"][n % 2])).collect();
    fs::write(dir.path().join("x.csv"), format!("text,label\n{rows}")).unwrap();
    fs::create_dir_all(to).unwrap();
    preprocess(&Spec::new(vec![Source::at("x.csv")]), 1, dir.path(), &Silent).unwrap().write(to).unwrap();
}

fn size(dir: &Path) -> usize {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    all.map(|path| if path.is_dir() { size(&path) } else { fs::metadata(path).unwrap().len() as usize }).sum()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// A data set called `set`, and how its rows are split.
fn made(which: usize, dir: &Path) -> Source {
    let set = dir.join("set");
    match which {
        0 => copy(&fixture("saved"), &set),
        1 => copy(&fixture("repository"), &set),
        2 => {
            copy(&fixture("repository"), &set);
            fs::create_dir_all(set.join("more")).unwrap();
            fs::write(set.join("more/x.csv"), "text,label\nmore of it,1\n").unwrap();
            fs::write(set.join("README.md"), README).unwrap();
        }
        3 => corpus(&set),
        _ => {
            for (at, label) in ["pos", "neg", "unsup"].into_iter().enumerate() {
                fs::create_dir_all(set.join("train").join(label)).unwrap();
                fs::write(set.join("train").join(label).join("1_9.txt"), format!("text {at}")).unwrap();
            }
        }
    }
    let mut source = Source::at("set");
    source.split = Splitting::AsNamed;
    source
}

proptest! {
    #![proptest_config(config(120))]

    #[test]
    fn a_data_set_with_a_changed_file(which in 0usize..5, file in any::<prop::sample::Index>(), changes in prop::collection::vec(changes(), 1..6)) {
        let dir = tempfile::tempdir().unwrap();
        let source = made(which, dir.path());
        prop_assert!(read(dir.path(), &source, size(dir.path())).is_ok());
        let all = files(&dir.path().join("set"));
        let path = file.get(&all);
        let good = fs::read(path).unwrap();
        for changes in changes {
            fs::write(path, changed(&good, &changes)).unwrap();
            let _ = read(dir.path(), &source, size(dir.path()));
        }
    }

    #[test]
    fn a_readme_of_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..30), changes in changes(), config in prop::option::of("[a-c]")) {
        let dir = tempfile::tempdir().unwrap();
        let mut source = made(1, dir.path());
        source.config = config;
        let readme = dir.path().join("set/README.md");
        for text in [format!("---\n{}\n---\n", pieces.concat()).into_bytes(), changed(README.as_bytes(), &changes)] {
            fs::write(&readme, text).unwrap();
            let _ = read(dir.path(), &source, size(dir.path()));
        }
    }
}

#[test]
fn a_pattern_too_large_to_compile_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let source = made(1, dir.path());
    let readme = |pattern: &str| format!("---\nconfigs:\n- config_name: a\n  data_files: \"{pattern}\"\n---\n");
    fs::write(dir.path().join("set/README.md"), readme(&"?".repeat(1_000_000))).unwrap();
    let message = format!("{:#}", read(dir.path(), &source, size(dir.path())).unwrap_err());
    assert!(message.ends_with("????…`: the pattern has 1000000 bytes, more than 4096"), "{message}");
}

#[test]
fn names_that_lead_out_of_the_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let source = made(0, dir.path());
    fs::write(dir.path().join("secret.arrow"), "x").unwrap();
    let state = dir.path().join("set/train/state.json");
    fs::write(&state, "{\"_data_files\": [{\"filename\": \"../../secret.arrow\"}]}").unwrap();
    let message = format!("{:#}", read(dir.path(), &source, size(dir.path())).unwrap_err());
    assert!(message.contains("which is not in its folder"), "{message}");
    let dict = dir.path().join("set/dataset_dict.json");
    fs::write(&dict, "{\"splits\": [\"..\"]}").unwrap();
    let message = format!("{:#}", read(dir.path(), &source, size(dir.path())).unwrap_err());
    assert!(message.contains("names the split `../`, which is not a folder here"), "{message}");
}
