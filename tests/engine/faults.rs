//! Every step on disk fails once, dies once and loses power once; the guarantees hold each time.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use pipe_engine::contract::event::Event;
use pipe_engine::store::artifact::Artifact;
use pipe_engine::store::cache::Cache;
use pipe_engine::store::disk::{Change, Disk, Os};

use super::disks::{EIO, ENOSPC, EROFS, Faulty, Loss, PowerCut, Recording, Trouble, files};
use super::state::{assert_no_leftovers, assert_sound, end_state};
use super::toys::{Dir, Log};

/// Two branches, folders, an object shared by two stages, exports of one file and of many.
const PIPELINE: &str = r#"
name = "faults"
[stage.heap]
use = "heap@3"
export = "out/heap"
[stage.other]
use = "write@hello"
[stage.same]
use = "write@hello"
[stage.loud]
use = "shout@2"
in.text = ["heap", "other"]
[stage.all]
use = "join"
in.texts = "loud"
export = "out/all"
"#;

fn new() -> Dir {
    Dir::new(PIPELINE)
}

/// The number of disk steps of a run without faults.
fn undisturbed(dir: &Dir) -> usize {
    let disk = Arc::new(Recording::default());
    let outcome = dir.run_on(disk.clone(), &Log::default()).unwrap();
    assert_eq!((outcome.failed, outcome.blocked), (0, 0));
    disk.0.lock().unwrap().len()
}

/// The fingerprints whose results the run reported.
fn announced(log: &Log) -> Vec<String> {
    let done = |e: &Event| match e {
        Event::StageDone { fingerprint, .. } => Some(fingerprint.clone()),
        _ => None,
    };
    log.events.lock().unwrap().iter().filter_map(done).collect()
}

#[track_caller]
fn assert_kept(root: &Path, fingerprints: &[String], after: &str) {
    let cache = Cache::open(&root.join("cache")).unwrap();
    for fingerprint in fingerprints {
        let entry = cache.entry(fingerprint).unwrap().unwrap_or_else(|| panic!("{after}: a result was lost"));
        for file in entry.outputs.values().flat_map(|a| &a.files) {
            cache.verify(&file.digest).unwrap_or_else(|e| panic!("{after}: {e}"));
        }
    }
}

#[test]
fn a_process_that_dies_at_any_step_loses_and_corrupts_nothing() {
    let right = new();
    let steps = undisturbed(&right);
    for n in 0..steps {
        let (dir, log) = (new(), Log::default());
        let _ = dir.run_on(Arc::new(Faulty::new(n, Trouble::Crash)), &log);
        assert_kept(dir.temp.path(), &announced(&log), &format!("death at step {n}"));
        assert_sound(dir.temp.path());
        undisturbed(&dir);
        assert_eq!(end_state(dir.temp.path()), end_state(right.temp.path()), "death at step {n}");
        assert_no_leftovers(dir.temp.path());
    }
}

#[test]
fn a_power_cut_at_any_step_loses_no_result_and_corrupts_nothing() {
    let right = new();
    let steps = undisturbed(&right);
    for n in 0..=steps {
        for loss in [Loss::All, Loss::Bytes, Loss::Some(n as u64)] {
            let (dir, log, disk) = (new(), Log::default(), Arc::new(PowerCut::new(n)));
            let _ = dir.run_on(disk.clone(), &log);
            disk.cut(&dir.path("cache"), loss);
            let when = format!("power cut at step {n}, {loss:?} lost");
            assert_kept(dir.temp.path(), &announced(&log), &when);
            undisturbed(&dir);
            assert_eq!(end_state(dir.temp.path()), end_state(right.temp.path()), "{when}");
        }
    }
}

#[test]
fn a_full_or_broken_disk_at_any_step_is_said_and_the_next_run_completes() {
    let right = new();
    let steps = undisturbed(&right);
    for trouble in [Trouble::Once(ENOSPC), Trouble::Once(EIO), Trouble::On(ENOSPC), Trouble::On(EIO)] {
        for n in 0..steps {
            let (dir, log) = (new(), Log::default());
            let when = format!("{trouble:?} at step {n}");
            let outcome = dir.run_on(Arc::new(Faulty::new(n, trouble)), &log);
            assert_kept(dir.temp.path(), &announced(&log), &when);
            match outcome {
                Err(error) => assert_says(&error, trouble, &when),
                Ok(outcome) => {
                    let failures = failures(&log);
                    failures.iter().for_each(|error| assert_says(error, trouble, &when));
                    assert!(failures.len() <= 1 || matches!(trouble, Trouble::On(_)), "{when}: {failures:?}");
                    // A single fault affects at most one chain.
                    let done = outcome.ran + outcome.hits;
                    assert!(done >= 3 || matches!(trouble, Trouble::On(_)), "{when}: only {done} of 6 done");
                }
            }
            undisturbed(&dir);
            assert_sound(dir.temp.path());
            assert_eq!(end_state(dir.temp.path()), end_state(right.temp.path()), "{when}");
            assert_no_leftovers(dir.temp.path());
        }
    }
}

fn failures(log: &Log) -> Vec<String> {
    let failed = |e: &Event| match e {
        Event::StageFailed { error, .. } => Some(error.clone()),
        _ => None,
    };
    log.events.lock().unwrap().iter().filter_map(failed).collect()
}

#[track_caller]
fn assert_says(error: &str, trouble: Trouble, when: &str) {
    let (Trouble::Once(errno) | Trouble::On(errno)) = trouble else { return };
    let names_a_place = error.contains("cache") || error.contains("out/");
    let says = match errno {
        ENOSPC => {
            "No space left on device (os error 28); free some disk space and run again: committed results are kept"
        }
        _ => "Input/output error (os error 5)",
    };
    assert!(error.contains("cannot ") && names_a_place && error.contains(says), "{when}: {error}");
}

#[test]
fn a_read_only_cache_is_said_once_with_what_to_do() {
    let dir = new();
    dir.write("p.toml", "[stage.a]\nuse = \"write@x\"\n[stage.b]\nuse = \"write@y\"\n");
    dir.run();
    dir.write("p.toml", "[stage.a]\nuse = \"write@x\"\n[stage.b]\nuse = \"write@z\"\n[stage.c]\nuse = \"write@c\"\n");
    let log = Log::default();
    let error = dir.run_on(Arc::new(Faulty::new(0, Trouble::On(EROFS))), &log).unwrap_err();
    let cache = dir.path("cache");
    assert_eq!(
        error,
        format!(
            "cannot write to the cache {}: Read-only file system (os error 30); make it writable, or choose another folder with --cache-dir or $PIPE_CACHE",
            cache.display()
        )
    );
    assert_eq!(failures(&log), [""; 0], "nothing was started");
}

#[test]
fn a_read_only_cache_serves_what_it_has() {
    let dir = new();
    undisturbed(&dir);
    let log = Log::default();
    let outcome = dir.run_on(Arc::new(Faulty::new(0, Trouble::On(EROFS))), &log).unwrap();
    assert_eq!((outcome.hits, outcome.ran, outcome.failed), (6, 0, 0), "{:?}", log.events);
    // A damaged object in a read-only cache cannot be moved away, but it is not used either.
    let object = files(&dir.path("cache/objects")).remove(0);
    fs::remove_file(&object).unwrap();
    fs::write(&object, "").unwrap();
    let error = dir.run_on(Arc::new(Faulty::new(0, Trouble::On(EROFS))), &log).unwrap_err();
    assert!(error.starts_with("cannot write to the cache "), "{error}");
    assert!(object.exists());
}

/// Another process creates the view of an artifact just before this one.
struct Overtaken {
    other: Cache,
    artifact: Artifact,
    view: Mutex<Option<(PathBuf, u64)>>,
}

impl Disk for Overtaken {
    fn change(&self, change: Change<'_>) -> io::Result<()> {
        let mut view = self.view.lock().unwrap();
        if view.is_none() && matches!(change, Change::Link { .. }) {
            let dir = self.other.view(&self.artifact).unwrap();
            *view = Some((dir.clone(), fs::metadata(&dir).unwrap().ino()));
        }
        Os.change(change)
    }
}

#[test]
fn a_view_that_another_process_reads_is_not_replaced() {
    let dir = Dir::new("[stage.a]\nuse = \"heap@3\"\n");
    undisturbed(&dir);
    let other = Cache::open(&dir.path("cache")).unwrap();
    let entry = other.entry(&other.fingerprints().unwrap()[0]).unwrap().unwrap();
    let artifact = entry.outputs["text"].clone();
    let disk = Arc::new(Overtaken { other, artifact: artifact.clone(), view: Mutex::default() });
    let seen = Cache::open_on(&dir.path("cache"), disk.clone()).unwrap().view(&artifact).unwrap();
    let (made, inode) = disk.view.lock().unwrap().clone().unwrap();
    assert_eq!((&seen, fs::metadata(&seen).unwrap().ino()), (&made, inode));
    assert_eq!(fs::read_dir(dir.path("cache/views")).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_run_of_hits_changes_nothing_on_disk_and_reads_no_object() {
    let dir = new();
    undisturbed(&dir);
    // Any read of an object would detect this garbage of the same size.
    for object in &files(&dir.path("cache/objects")) {
        let size = fs::metadata(object).unwrap().len() as usize;
        fs::remove_file(object).unwrap();
        fs::write(object, vec![b'#'; size]).unwrap();
    }
    let disk = Arc::new(Recording::default());
    let outcome = dir.run_on(disk.clone() as Arc<dyn Disk>, &Log::default()).unwrap();
    assert_eq!(outcome.hits, 6);
    assert_eq!(*disk.0.lock().unwrap(), [""; 0]);
}
