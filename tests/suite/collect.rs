//! What `cache gc` removes and keeps, also beside running processes.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pipe_engine::contract::event::Event;
use pipe_engine::contract::run_id::RunId;
use pipe_engine::judge::project::Project;
use pipe_engine::run::executor::Threads;
use pipe_engine::run::schedule::{RunOptions, run};
use pipe_engine::store::collect::Mode;
use pipe_engine::store::entry::Entry;

use super::cli::{fails, on};
use super::diff::git;
use super::toys::{Dir, Log, eventually};

const CHAIN: &str = "name = \"chain\"\n[stage.a]\nuse = \"write@hello\"\n[stage.b]\nuse = \"shout@2\"\nin.text = \"a\"\n    [profile.loud.stage.b]\ntimes = 3\n[profile.absent.stage.a]\npath = \"nowhere.txt\"\n";

/// The summary of `gc` on the cache of the folder.
fn gc(dir: &Dir, words: &str) -> String {
    gc_lines(dir, words).lines().last().map(|line| format!("{line}\n")).unwrap_or_default()
}

fn gc_lines(dir: &Dir, words: &str) -> String {
    let cache = dir.path("cache");
    on(dir, &format!("--cache-dir {} cache gc {words}", cache.display()))
}

fn count(dir: &Dir, below: &str) -> usize {
    fs::read_dir(dir.path(below)).unwrap().count()
}

#[test]
fn what_the_files_need_in_any_profile_is_kept_and_the_rest_dropped() {
    let dir = Dir::new(CHAIN);
    for text in ["shout@2", "shout@4", "shout@3"] {
        dir.write("p.toml", &CHAIN.replace("shout@2", text));
        dir.run();
    }
    dir.write("p.toml", CHAIN);
    assert_eq!((count(&dir, "cache/entries"), count(&dir, "cache/objects"), count(&dir, "cache/views")), (4, 4, 1));
    // The result of `shout@4`, which no profile needs.
    assert_eq!(gc(&dir, "p.toml --dry-run"), "would remove 1 result and 1 file, 20 B; kept 3 results, 30 B\n");
    assert_eq!(count(&dir, "cache/entries"), 4, "a dry run drops nothing");
    assert_eq!(gc(&dir, "p.toml"), "removed 1 result and 1 file, 20 B; kept 3 results, 30 B\n");
    assert_eq!(gc(&dir, "p.toml"), "removed 0 results and 0 files, 0 B; kept 3 results, 30 B\n");
    assert_eq!(dir.run().summary(), ["hit a", "hit b"]);
    dir.write("p.toml", &CHAIN.replace("shout@2", "shout@3"));
    assert_eq!(dir.run().summary(), ["hit a", "hit b"], "the other profile's");
    dir.write("p.toml", &CHAIN.replace("shout@2", "shout@4"));
    assert_eq!(dir.planned()[1], "run b: times 3 → 4");
    assert_eq!(dir.run().summary(), ["hit a", "run b"]);
}

#[test]
fn what_is_removed_is_listed_and_other_projects_keep_theirs() {
    let (one, two) = (Dir::new(CHAIN), Dir::new(&CHAIN.replace("chain", "other").replace("hello", "bye")));
    let shared = tempfile::tempdir().unwrap();
    let on_shared = |dir: &Dir, words: &str| {
        let out = on(dir, &format!("--cache-dir {} {words}", shared.path().display()));
        // The time that a stage took.
        out.lines().map(|line| line.split(", made in").next().unwrap().to_string() + "\n").collect::<String>()
    };
    for dir in [&one, &two] {
        on_shared(dir, "run p.toml");
    }
    // The logs of both runs go first.
    assert!(on_shared(&one, "cache gc p.toml").starts_with("removed 0 results, 0 files and 2 logs of runs"));
    let root = fs::canonicalize(two.path("")).unwrap();
    let kept = format!(
        "removed 0 results and 0 files, 0 B; kept 4 results, 24 B\nkept 2 results of the project {}; --other-projects removes such \
         results\n",
        root.display()
    );
    assert_eq!(on_shared(&one, "cache gc p.toml"), kept);
    let mut removed: Vec<String> =
        on_shared(&one, "cache gc p.toml --other-projects").lines().map(str::to_string).collect();
    removed.sort();
    assert_eq!(
        removed,
        [
            "  a of pipeline `other`",
            "  b of pipeline `other`",
            "removed 2 results and 2 files, 9 B; kept 2 results, 15 B"
        ]
    );
    on_shared(&two, "run p.toml");
    drop(two);
    let gone = on_shared(&one, "cache gc p.toml");
    assert!(
        gone.contains("removed 2 results, 2 files and 1 log of runs") && !gone.contains("other-projects"),
        "{gone}"
    );
}

#[test]
fn what_a_revision_needs_is_kept_with_the_inputs_that_it_had() {
    let text = "[stage.a]\nuse = \"write\"\npath = \"in.txt\"\n[stage.b]\nuse = \"shout@2\"\nin.text = \"a\"\n";
    let dir = Dir::new(text);
    dir.write("in.txt", "one");
    dir.write(".gitignore", "/cache/\n");
    dir.run();
    if git(&dir, &["init", "-q"]).is_none() {
        return;
    }
    git(&dir, &["add", "-A"]);
    git(&dir, &["commit", "-qm", "first"]);
    dir.write("in.txt", "three");
    dir.write("p.toml", &text.replace("shout@2", "shout@3"));
    dir.run();
    assert_eq!(
        gc(&dir, "p.toml --keep-rev HEAD -n"),
        "would remove 0 results and 0 files, 0 B; kept 4 results, 29 B\n"
    );
    assert_eq!(gc(&dir, "p.toml -n"), "would remove 2 results and 2 files, 9 B; kept 2 results, 20 B\n");
    assert_eq!(fails(&dir, "cache gc p.toml --keep-rev nonesuch").0, 2);
    assert_eq!(gc(&dir, "p.toml"), "removed 2 results and 2 files, 9 B; kept 2 results, 20 B\n");
    dir.write("p.toml", text);
    dir.write("in.txt", "one");
    assert_eq!(dir.run().summary(), ["run a", "run b"]);
}

#[test]
fn age_counts_from_the_last_use_and_something_must_be_named() {
    let dir = Dir::new(CHAIN);
    dir.run();
    assert_eq!(
        fails(&dir, "cache gc"),
        (
            2,
            "error: specify which results to keep\nhelp: give the pipeline files whose results you need, `--keep-rev REV`, or `--older-than 30d`\n".into()
        )
    );
    assert_eq!(gc(&dir, "--older-than 1h"), "removed 0 results and 0 files, 0 B; kept 2 results, 15 B\n");
    // Made long ago, but used recently.
    for entry in fs::read_dir(dir.path("cache/entries")).unwrap() {
        let path = entry.unwrap().path();
        let mut entry = Entry::from_bytes(&fs::read(&path).unwrap()).unwrap();
        entry.made.at = 1000;
        fs::write(&path, entry.to_bytes().unwrap()).unwrap();
    }
    assert_eq!(gc(&dir, "--older-than 1h"), "removed 0 results and 0 files, 0 B; kept 2 results, 15 B\n");
    fs::remove_file(dir.path("cache/history.sqlite")).unwrap();
    assert_eq!(gc(&dir, "--older-than 1h"), "removed 2 results and 2 files, 15 B; kept 0 results, 0 B\n");
    assert_eq!(count(&dir, "cache/views"), 0);
    assert_eq!(dir.run().summary(), ["run a", "run b"]);
}

#[test]
fn unfinished_work_is_kept_for_the_file_that_goes_on_with_it() {
    let dir = Dir::new("[stage.a]\nuse = \"wait@60\"\n");
    static STOP: AtomicBool = AtomicBool::new(false);
    let log = Log { stop_on_note: Some(&STOP), ..Log::default() };
    dir.run_with(&[], &[], true, &STOP, log);
    dir.write("cache/damaged/old", "x");
    gc(&dir, "p.toml");
    assert_eq!(dir.planned(), ["run a: continues where it was interrupted"]);
    assert_eq!(count(&dir, "cache/damaged"), 0);
    dir.write("p.toml", "[stage.a]\nuse = \"write@x\"\n");
    // The folder is old, but the checkpoint in it is fresh.
    let folder = fs::read_dir(dir.path("cache/partial")).unwrap().next().unwrap().unwrap().path();
    fs::File::open(folder).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    gc(&dir, "p.toml --older-than 1h");
    assert_eq!(count(&dir, "cache/partial"), 1);
    gc(&dir, "p.toml");
    assert_eq!(count(&dir, "cache/partial"), 0);
}

#[test]
fn unfinished_work_of_other_projects_is_kept() {
    let (one, two) = (Dir::new(CHAIN), Dir::new("[stage.a]\nuse = \"wait@60\"\n"));
    let shared = tempfile::tempdir().unwrap();
    let on_shared = |dir: &Dir, words: &str| on(dir, &format!("--cache-dir {} {words}", shared.path().display()));
    let root = fs::canonicalize(two.path("")).unwrap();
    // Started elsewhere, and not finished.
    let project = Project::open(&root, Some(shared.path())).unwrap();
    let pipeline = two.resolve(None, &[]).unwrap();
    let prepared = project.prepare(&pipeline, &[], &[], &[]).unwrap();
    static STOP: AtomicBool = AtomicBool::new(false);
    let log = Log { stop_on_note: Some(&STOP), ..Log::default() };
    let options = RunOptions {
        id: &RunId::now(),
        jobs: 1,
        keep_going: true,
        device: "cpu",
        gpus: 0,
        memory: None,
        plan: None,
        executor: &Threads,
    };
    run(&prepared.job(), &options, &log, &STOP).unwrap();
    let unfinished = || {
        fs::read_dir(shared.path().join("partial"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().is_dir())
            .count()
    };
    assert_eq!(unfinished(), 1);
    on_shared(&one, "run p.toml");
    let kept = on_shared(&one, "cache gc p.toml");
    assert!(
        kept.ends_with(&format!(
            "kept 1 unfinished result of the project {}; --other-projects removes such results\n",
            root.display()
        )),
        "{kept}"
    );
    assert_eq!(unfinished(), 1);
    let removed = on_shared(&one, "cache gc p.toml --other-projects");
    assert!(!removed.contains("unfinished"), "{removed}");
    assert_eq!(unfinished(), 0);
}

#[test]
fn a_running_process_keeps_what_it_has_taken_and_what_it_makes() {
    let text = "[stage.a]\nuse = \"write@x\"\n[stage.slow]\nuse = \"wait@60\"\n[stage.z]\nuse = \"join\"\nin.texts = [\"a\", \"slow\"]\nexport = \"out\"\n";
    let dir = Dir::new(text);
    dir.run_with(&["a"], &[], true, &AtomicBool::new(false), Log::default());
    let ran = std::thread::scope(|scope| {
        let run = scope.spawn(|| dir.run());
        eventually(|| {
            dir.path("cache/leases").is_dir() && count(&dir, "cache/leases") == 1 && count(&dir, "cache/partial") == 2
        });
        let done = dir.open().cache.collect(Mode::Remove, &|_, _| false).unwrap();
        assert_eq!((done.results.len(), done.kept_results, done.in_use), (0, 1, 1));
        run.join().unwrap()
    });
    assert_eq!(ran.summary(), ["hit a", "run slow", "run z"]);
    assert_eq!(dir.read("out/text"), "a=x;slow=60;");
    let done = dir.open().cache.collect(Mode::Remove, &|_, _| false).unwrap();
    assert_eq!((done.results.len(), done.kept_results), (3, 0), "nobody holds them any more");
}

#[test]
fn runs_and_collections_at_once_never_fail_and_never_give_a_wrong_result() {
    let stages: String = (0..6)
        .map(|i| {
            format!("[stage.w{i}]\nuse = \"write@x{i}\"\n[stage.s{i}]\nuse = \"shout@{}\"\nin.text = \"w{i}\"\n", i + 1)
        })
        .collect();
    let dir = Dir::new(
        &(stages
            + "[stage.all]\nuse = \"join\"\nin.texts = [\"s0\", \"s1\", \"s2\", \"s3\", \"s4\", \"s5\"]\nexport = \"out\"\n"),
    );
    let wanted: String = (0..6).map(|i| format!("s{i}={};", format!("X{i}").repeat(i + 1))).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let project = dir.open();
            let mut dropped = 0;
            while !done.load(Ordering::Relaxed) {
                dropped += project.cache.collect(Mode::Remove, &|_, _| false).unwrap().results.len();
                std::thread::sleep(Duration::from_millis(1));
            }
            dropped
        });
        let runs: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..8 {
                        let ran = dir.run();
                        assert_eq!((ran.outcome.failed, ran.outcome.blocked), (0, 0), "{:?}", ran.summary());
                        let damaged = ran.events.iter().any(|e| matches!(e, Event::Damaged { .. }));
                        assert!(!damaged, "a collected file looks like a damaged one: {:?}", ran.summary());
                        assert_eq!(dir.read("out/text"), wanted);
                    }
                })
            })
            .collect();
        let results: Vec<_> = runs.into_iter().map(|r| r.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(collector.join().unwrap() > 0, "something was collected in between");
        results.into_iter().for_each(|r| r.unwrap());
    });
}

#[test]
fn a_check_of_every_byte_takes_no_collection_for_damage() {
    let dir = Dir::new(CHAIN);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let project = dir.open();
            while !done.load(Ordering::Relaxed) {
                project.cache.collect(Mode::Remove, &|_, _| false).unwrap();
            }
        });
        let found: Vec<_> = (0..30)
            .map(|_| {
                dir.run();
                dir.open().cache.verify_all().unwrap()
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(found.iter().all(|f| f.damaged.is_empty() && f.incomplete.is_empty()), "{found:?}");
    });
}
