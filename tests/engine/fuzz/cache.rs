//! Fuzzes entries, the stat cache and the run database: invalid data is never used and never breaks a run.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use pipe_engine::contract::event::Outcome;
use pipe_engine::contract::run_id::RunId;
use pipe_engine::judge::history::History;
use pipe_engine::store::artifact::Artifact;
use pipe_engine::store::cache::Cache;
use pipe_engine::store::digest::StatCache;
use pipe_engine::store::disk::Os;
use pipe_engine::store::entry::Entry;
use proptest::prelude::*;

use super::changes::{bounded, changed, changes, config};
use crate::toys::Dir;

const CHAIN: &str = "[stage.a]\nuse = \"write\"\npath = \"in.txt\"\n[stage.b]\nuse = \"shout@2\"\nin.text = \"a\"\n";

/// A project that has run once.
fn ran() -> Dir {
    let dir = Dir::new(CHAIN);
    dir.write("in.txt", "hello");
    assert_eq!(dir.run().summary(), ["run a", "run b"]);
    dir
}

fn entries(dir: &Dir) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir.path("cache/entries")).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

thread_local! {
    static RAN: Dir = ran();
}

/// Read the first entry file with these bytes as its content, then restore the file.
fn read(dir: &Dir, bytes: &[u8]) -> Option<Entry> {
    let path = &entries(dir)[0];
    let good = fs::read(path).unwrap();
    let fingerprint = path.file_stem().unwrap().to_str().unwrap().to_string();
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    let cache = Cache::open(&dir.path("cache")).unwrap();
    let found = bounded(bytes.len(), || cache.entry(&fingerprint).unwrap());
    if let Some(entry) = &found {
        assert_eq!(entry.manifest.fingerprint(), fingerprint);
        // Its views are inside the cache and match the digests.
        for artifact in entry.outputs.values() {
            let view = bounded(bytes.len(), || cache.view(artifact));
            assert!(view.is_ok_and(|v| v.starts_with(dir.path("cache/views"))));
        }
    }
    let _ = fs::remove_file(path);
    fs::write(path, good).unwrap();
    found
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn a_changed_entry_is_the_same_or_none(changes in changes()) {
        RAN.with(|dir| {
            let path = &entries(dir)[0];
            let good = fs::read(path).unwrap();
            if let Some(entry) = read(dir, &changed(&good, &changes)) {
                assert_eq!(Some(entry), Entry::from_bytes(&good));
            }
        });
    }

    #[test]
    fn any_bytes_are_no_entry(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        RAN.with(|dir| assert!(read(dir, &bytes).is_none()));
    }

    #[test]
    fn a_changed_stat_cache_costs_time_and_nothing_else(bytes in prop::collection::vec(any::<u8>(), 0..200), changes in changes()) {
        let temp = tempfile::tempdir().unwrap();
        let (file, input) = (temp.path().join("stat-cache.json"), temp.path().join("in.txt"));
        fs::write(&input, "x").unwrap();
        let good = format!(
            "{{\"{}\":{{\"stat\":{{\"size\":1,\"mtime\":1,\"mtime_nsec\":1,\"ctime\":1,\"ctime_nsec\":1,\"inode\":1,\"device\":1}},\"digest\":\"ab\"}}}}",
            input.display()
        );
        for bytes in [bytes, changed(good.as_bytes(), &changes)] {
            fs::write(&file, &bytes).unwrap();
            let stats = bounded(bytes.len(), || StatCache::open(file.clone(), Arc::new(Os)));
            prop_assert_eq!(stats.digest(&input).unwrap(), blake3::hash(b"x").to_hex().to_string());
            stats.save().unwrap();
        }
    }
}

/// A database with one run in it.
fn database() -> Vec<u8> {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("history.sqlite");
    let history = History::open(&path).unwrap();
    let run = history.start_run(&RunId::now(), temp.path(), "p", Some("loud")).unwrap();
    history.finish_run(run, &Outcome::default()).unwrap();
    drop(history);
    fs::read(path).unwrap()
}

thread_local! {
    static DATABASE: Vec<u8> = database();
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn a_damaged_database_is_an_error_or_is_read(bytes in prop::collection::vec(any::<u8>(), 0..200), changes in changes()) {
        let damaged = DATABASE.with(|good| changed(good, &changes));
        for bytes in [bytes, damaged] {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("history.sqlite");
            fs::write(&path, bytes).unwrap();
            if let Ok(history) = History::open(&path) {
                let _ = history.runs(None, 10);
                let _ = history.facts(1);
                let _ = history.latest("p");
                let _ = history.start_run(&RunId::now(), temp.path(), "p", None).and_then(|run| history.finish_run(run, &Outcome::default()));
            }
        }
    }
}

#[test]
fn a_run_on_a_damaged_database_says_so_and_goes_on() {
    let dir = ran();
    fs::write(dir.path("cache/history.sqlite"), "this is no database at all, and long enough to be read as one")
        .unwrap();
    for left in ["history.sqlite-wal", "history.sqlite-shm"] {
        let _ = fs::remove_file(dir.path("cache").join(left));
    }
    assert!(dir.open().history_problem.is_some());
    assert_eq!(dir.run().summary(), ["hit a", "hit b"]);
}

#[test]
fn an_entry_whose_files_share_a_path_is_not_followed() {
    let dir = ran();
    let path = &entries(&dir)[0];
    let mut entry = Entry::from_bytes(&fs::read(path).unwrap()).unwrap();
    let artifact = entry.outputs.values_mut().next().unwrap();
    *artifact = Artifact::new("text", vec![artifact.files[0].clone(), artifact.files[0].clone()]);
    assert!(read(&dir, &entry.to_bytes().unwrap()).is_none());
}
