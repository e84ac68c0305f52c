//! The engine's guarantees, tested with toy kinds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use pipe_engine::contract::event::Event;
use pipe_engine::contract::kind::What;
use pipe_engine::contract::origin::{Fetched, Origin};

use super::toys::{Dir, Log, eventually};

const CHAIN: &str = r#"
name = "chain"
seed = 1
[stage.a]
use = "write@hello"
[stage.b]
use = "shout@2"
in.text = "a"
[stage.c]
use = "count"
in.text = "b"
"#;

fn objects(dir: &Dir) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir.path("cache/objects"))
        .unwrap()
        .flat_map(|d| fs::read_dir(d.unwrap().path()).unwrap().map(|f| f.unwrap().path()))
        .collect();
    all.sort();
    all
}

/// The object that holds `text`.
fn object_of(dir: &Dir, text: &str) -> PathBuf {
    objects(dir)
        .into_iter()
        .find(|p| fs::read_to_string(p).unwrap() == text)
        .unwrap_or_else(|| panic!("no object holds {text}"))
}

fn overwrite(path: &PathBuf, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_second_run_does_nothing() {
    let dir = Dir::new(CHAIN);
    assert_eq!(dir.run().summary(), ["run a", "run b", "run c"]);
    assert_eq!(dir.run().summary(), ["hit a", "hit b", "hit c"]);
    assert_eq!(dir.planned(), ["hit a", "hit b", "hit c"]);
}

#[test]
fn comments_order_formatting_and_spelling_of_numbers_never_invalidate() {
    let dir = Dir::new(&CHAIN.replace("in.text = \"a\"", "in.text = \"a\"\nvolume = 5e-1"));
    dir.run();
    dir.write(
        "p.toml",
        "# another look\nseed = 1\nname = 'chain'\nstage.c = { in = { text = \"b\" }, use = \"count\" }\n\n[stage.b]\nin = { text = 'a' }   # the same\nvolume = 0.50\ntimes = 2\nlog-every = 7\nuse = \"shout\"\n[stage.a]\ntext = \"hello\"\nuse = \"write\"\n",
    );
    assert_eq!(dir.run().sorted(), ["hit a", "hit b", "hit c"]);
}

#[test]
fn a_changed_parameter_runs_its_stage_and_what_follows_and_says_why() {
    let dir = Dir::new(CHAIN);
    dir.run();
    dir.write("p.toml", &CHAIN.replace("shout@2", "shout@3"));
    assert_eq!(dir.planned(), ["hit a", "run b: times 2 → 3", "may c: in.text: b will change"]);
    assert_eq!(dir.run().summary(), ["hit a", "run b", "run c"]);
    // Back again: the old results are still cached.
    dir.write("p.toml", CHAIN);
    assert_eq!(dir.run().summary(), ["hit a", "hit b", "hit c"]);
}

#[test]
fn an_unchanged_output_stops_the_rebuild() {
    let dir = Dir::new(&CHAIN.replace("in.text = \"a\"", "in.text = \"a\"\nfirst = true"));
    dir.run();
    dir.write("p.toml", &CHAIN.replace("in.text = \"a\"", "in.text = \"a\"\nfirst = true").replace("hello", "hi"));
    let ran = dir.run();
    assert_eq!(ran.summary(), ["run a", "run b", "hit c"]);
    assert!(ran.events.iter().any(|e| matches!(e, Event::StageDone { stage, unchanged: true, .. } if stage == "b")));
}

#[test]
fn a_stage_that_ignores_the_seed_does_not_run_for_it() {
    let dir = Dir::new(CHAIN);
    dir.run();
    dir.write("p.toml", &CHAIN.replace("seed = 1", "seed = 2"));
    assert_eq!(dir.run().summary(), ["hit a", "run b", "hit c"]);
}

#[test]
fn external_files_count_by_content() {
    let dir = Dir::new("[stage.a]\nuse = \"write\"\npath = \"in.txt\"\n");
    dir.write("in.txt", "one");
    assert_eq!(dir.run().summary(), ["run a"]);
    dir.write("in.txt", "one");
    assert_eq!(dir.run().summary(), ["hit a"]);
    dir.write("in.txt", "two");
    assert!(dir.planned()[0].starts_with("run a: file in.txt "), "{:?}", dir.planned());
    assert_eq!(dir.run().summary(), ["run a"]);
}

#[test]
fn a_file_that_vanishes_from_an_input_folder_during_the_run_is_a_change() {
    let dir = Dir::new("[stage.a]\nuse = \"gather@in\"\nlose = \"b\"\n");
    dir.write("in/a", "1");
    dir.write("in/b", "2");
    let said = dir.run().summary();
    assert_eq!(said, ["fail a: in/b changed while the stage ran, so the result was discarded; run again"]);
}

#[test]
fn an_input_that_moves_during_the_run_is_not_cached() {
    let dir = Dir::new(
        "[stage.a]\nuse = \"write\"\npath = \"in.txt\"\nmeddle = true\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\n",
    );
    dir.write("in.txt", "one");
    let ran = dir.run();
    assert_eq!(
        ran.summary(),
        ["fail a: in.txt changed while the stage ran, so the result was discarded; run again", "blocked b by a"]
    );
    assert!(ran.events.iter().any(|e| matches!(e, Event::NotCached { .. })));
    assert_eq!(fs::read_dir(dir.path("cache/entries")).unwrap().count(), 0);
}

#[test]
fn a_failure_leaves_other_branches_alone_and_blocks_its_own() {
    let text = "[stage.bad]\nuse = \"fail@error\"\n[stage.after]\nuse = \"shout\"\nin.text = \"bad\"\n[stage.later]\nuse = \"count\"\nin.text = \"after\"\n[stage.good]\nuse = \"write@x\"\n[stage.fine]\nuse = \"shout\"\nin.text = \"good\"\n";
    let dir = Dir::new(text);
    let ran = dir.run();
    assert_eq!(
        ran.sorted(),
        ["blocked after by bad", "blocked later by bad", "fail bad: it was told to", "run fine", "run good"]
    );
    assert_eq!((ran.outcome.ran, ran.outcome.failed, ran.outcome.blocked), (2, 1, 2));
}

#[test]
fn a_panic_is_a_failure_of_its_stage_only() {
    let dir = Dir::new("[stage.bad]\nuse = \"fail@panic\"\n[stage.good]\nuse = \"write@x\"\n");
    assert_eq!(dir.run().sorted(), ["fail bad: the stage panicked, which is a bug: it was told to", "run good"]);
}

#[test]
fn an_output_that_is_a_link_is_refused() {
    let dir = Dir::new("[stage.bad]\nuse = \"fail@link\"\n");
    let said = dir.run().summary();
    assert!(
        said[0].ends_with("is neither a regular file nor a folder; a stage may write only files and folders"),
        "{said:?}"
    );
}

#[test]
fn damaged_objects_are_set_aside_and_rebuilt_never_used() {
    // Damage of the same length, which only the digest shows; then a truncated file.
    for (damage, said) in
        [("jello", &["hit a", "damaged a", "run a", "run b", "run c"][..]), ("h", &["run a", "run b", "run c"][..])]
    {
        let dir = Dir::new(CHAIN);
        dir.run();
        overwrite(&object_of(&dir, "hello"), damage.as_bytes());
        dir.write("p.toml", &CHAIN.replace("shout@2", "shout@3"));
        assert_eq!(dir.run().summary(), said);
        assert_eq!(fs::read_to_string(object_of(&dir, "15")).unwrap(), "15");
        let aside: Vec<_> = fs::read_dir(dir.path("cache/damaged"))
            .unwrap()
            .map(|f| fs::read_to_string(f.unwrap().path()).unwrap())
            .collect();
        assert_eq!(aside, [damage]);
    }
}

#[test]
fn damaged_or_truncated_entries_are_set_aside_and_rebuilt() {
    for cut in [0, 1, 40, 200] {
        let dir = Dir::new(CHAIN);
        dir.run();
        for entry in fs::read_dir(dir.path("cache/entries")).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..cut]).unwrap();
        }
        assert_eq!(dir.run().summary(), ["run a", "run b", "run c"]);
        assert_eq!(dir.run().summary(), ["hit a", "hit b", "hit c"]);
    }
}

#[test]
fn an_entry_that_was_edited_is_not_believed() {
    let dir = Dir::new(CHAIN);
    dir.run();
    for entry in fs::read_dir(dir.path("cache/entries")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(
            &path,
            text.replace("\"path\": \"text\"", "\"path\": \"../../text\"")
                .replace("\"path\": \"number\"", "\"path\": \"/tmp/number\""),
        )
        .unwrap();
    }
    assert_eq!(dir.run().summary(), ["run a", "run b", "run c"]);
}

#[test]
fn an_interrupted_stage_goes_on_from_its_checkpoint() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let dir = Dir::new("[stage.a]\nuse = \"wait@40\"\n[stage.b]\nuse = \"count\"\nin.text = \"a\"\n");
    let ran = dir.run_with(&[], &[], false, &STOP, Log { stop_on_note: Some(&STOP), ..Log::default() });
    assert_eq!(ran.summary(), ["interrupted a", "blocked b by a"]);
    assert!(ran.outcome.interrupted);
    assert_eq!(dir.planned()[0], "run a: continues where it was interrupted");
    // Pretend that the process was killed after 30 ticks.
    let work = fs::read_dir(dir.path("cache/partial"))
        .unwrap()
        .map(|e| e.unwrap().path().join("work/tick"))
        .find(|p| p.exists())
        .unwrap();
    fs::write(work, "30").unwrap();
    let ran = dir.run();
    assert!(ran.events.contains(&Event::Note { stage: "a".into(), text: "from tick 30".into() }), "{:?}", ran.events);
    assert_eq!(ran.summary(), ["run a", "run b"]);
    assert_eq!(fs::read_dir(dir.path("cache/partial")).unwrap().count(), 0, "nothing is left over");
}

#[test]
fn two_runs_at_once_compute_each_stage_once() {
    let dir = Dir::new("[stage.a]\nuse = \"wait@30\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\n");
    let runs: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..4).map(|_| scope.spawn(|| dir.run())).collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    });
    let made = |what: &str| runs.iter().flat_map(|r| r.summary()).filter(|s| s == what).count();
    assert_eq!((made("run a"), made("hit a"), made("run b"), made("hit b")), (1, 3, 1, 3));
}

#[test]
fn two_stages_that_are_the_same_are_computed_once() {
    let dir = Dir::new("[stage.a]\nuse = \"wait@20\"\n[stage.b]\nuse = \"wait@20\"\n");
    let mut said: Vec<String> = dir.run().summary().iter().map(|s| s.split(' ').next().unwrap().to_string()).collect();
    said.sort();
    assert_eq!(said, ["hit", "run"]);
}

#[test]
fn independent_stages_run_at_the_same_time() {
    let stages: String = (0..4).map(|i| format!("[stage.s{i}]\nuse = \"wait@20\"\ntag = \"{i}\"\n")).collect();
    let ran = Dir::new(&stages).run();
    let order: Vec<bool> = ran
        .events
        .iter()
        .filter_map(|e| match e {
            Event::StageStarted { .. } => Some(true),
            Event::StageDone { .. } => Some(false),
            _ => None,
        })
        .collect();
    assert_eq!(order[..4], [true; 4], "all four start before the first ends");
}

#[test]
fn force_runs_a_stage_again_and_only_it() {
    let dir = Dir::new(CHAIN);
    dir.run();
    let ran = dir.run_with(&[], &["b"], true, &AtomicBool::new(false), Log::default());
    assert_eq!(ran.summary(), ["hit a", "run b", "hit c"]);
}

#[test]
fn targets_run_what_they_need_and_nothing_else() {
    let dir = Dir::new(CHAIN);
    let ran = dir.run_with(&["b"], &[], true, &AtomicBool::new(false), Log::default());
    assert_eq!(ran.summary(), ["run a", "run b"]);
}

#[test]
fn exports_are_copied_after_success_and_follow_changes() {
    let text = CHAIN.replace("use = \"count\"", "use = \"count\"\nexport = \"out/c\"");
    let dir = Dir::new(&text);
    dir.run();
    assert_eq!(dir.read("out/c/number"), "10");
    assert!(
        !dir.run().events.iter().any(|e| matches!(e, Event::Exported { .. })),
        "an export that is right is left alone"
    );
    dir.write("out/c/number", "tampered");
    dir.run();
    assert_eq!(dir.read("out/c/number"), "10");
    dir.write("p.toml", &text.replace("shout@2", "shout@3"));
    dir.run();
    assert_eq!(dir.read("out/c/number"), "15");
}

#[test]
fn an_export_through_a_link_is_refused() {
    let dir = Dir::new(&CHAIN.replace("use = \"count\"", "use = \"count\"\nexport = \"out/c\""));
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), dir.path("out")).unwrap();
    let said = dir.run().summary();
    assert!(said.last().unwrap().ends_with("it is a symbolic link, which could lead out of the project"), "{said:?}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn lists_fan_out_and_many_ports_collect() {
    let dir = Dir::new(
        "[stage.a]\nuse = \"write@x\"\n[stage.b]\nuse = \"write@yy\"\n[stage.loud]\nuse = \"shout\"\nin.text = [\"a\", \"b\"]\n[stage.all]\nuse = \"join\"\nin.texts = \"loud\"\nexport = \"out\"\n",
    );
    assert_eq!(dir.run().sorted(), ["run a", "run all", "run b", "run loud[a]", "run loud[b]"]);
    assert_eq!(dir.read("out/text"), "a=X;b=YY;");
}

#[test]
fn a_matrix_fans_out_and_its_consumers_follow_the_same_axes() {
    let dir = Dir::new(
        "[stage.a]\nuse = \"write@x\"\n[stage.loud]\nuse = \"shout\"\nin.text = \"a\"\nmatrix = { times = [1, 2], seed = [7, 8] }\n[stage.n]\nuse = \"shout\"\nin.text = \"loud\"\n[stage.all]\nuse = \"join\"\nin.texts = [\"n\", \"a\"]\nexport = \"out\"\n",
    );
    dir.run();
    assert_eq!(
        dir.read("out/text"),
        "n[times=1, seed=7]=X;n[times=1, seed=8]=X;n[times=2, seed=7]=XX;n[times=2, seed=8]=XX;a=x;"
    );
}

#[test]
fn profiles_and_overrides_win_leaf_by_leaf() {
    let text = format!("{CHAIN}\n[profile.big.stage.b]\ntimes = 5\n[profile.big]\nseed = 9\n");
    let dir = Dir::new(&text);
    let b = |profile, sets: &[&str]| {
        let p = dir.resolve(profile, sets).unwrap();
        let i = p.instances.iter().find(|i| i.name == "b").unwrap();
        (i.parameters["times"].as_u64().unwrap(), i.parameters["volume"].as_f64().unwrap(), i.seed)
    };
    assert_eq!(b(None, &[]), (2, 1.0, 1));
    assert_eq!(b(Some("big"), &[]), (5, 1.0, 9));
    assert_eq!(b(Some("big"), &["stage.b.volume=0.5", "stage.b.times = 6"]), (6, 0.5, 9));
    assert_eq!(b(None, &["stage.b.use=shout@4"]), (4, 1.0, 1));
}

#[test]
fn a_stopped_run_starts_nothing_more() {
    static STOP: AtomicBool = AtomicBool::new(true);
    let dir = Dir::new(CHAIN);
    let ran = dir.run_with(&[], &[], true, &STOP, Log::default());
    assert_eq!(ran.summary(), Vec::<String>::new());
    assert!(ran.outcome.interrupted);
    eventually(|| fs::read_dir(dir.path("cache/entries")).unwrap().count() == 0);
}

#[test]
fn a_commit_cut_short_is_made_good() {
    // Killed between objects and entry; and while the entry was written to its temporary file.
    let dir = Dir::new(CHAIN);
    dir.run();
    let before = objects(&dir);
    for entry in fs::read_dir(dir.path("cache/entries")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    dir.write("cache/entries/.tmpA1b2C3", "{\"kind\": \"wri");
    dir.write("cache/partial/0000/out/text/text", "left over");
    assert_eq!(dir.run().summary(), ["run a", "run b", "run c"]);
    assert_eq!(objects(&dir), before, "the same objects, none doubled");
    assert_eq!(dir.run().summary(), ["hit a", "hit b", "hit c"]);
}

#[test]
fn remote_inputs_are_fetched_once_and_not_while_something_local_is_wrong() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static FETCHED: AtomicUsize = AtomicUsize::new(0);
    let fetch = |name: &str, _: What, _: &dyn pipe_engine::contract::event::Observer| {
        FETCHED.fetch_add(1, Ordering::Relaxed);
        anyhow::ensure!(!name.ends_with("gone"), "{name} is not there");
        Ok(Fetched { dir: "/".into(), identity: Some("c0ffee".into()) })
    };
    let origins = [Origin { prefix: "far:", held: |_, _| Ok(None), fetch }];
    let problems = |text: &str| -> Vec<String> {
        let dir = Dir::new(text);
        let pipeline = dir.resolve(None, &[]).unwrap();
        let project = dir.open();
        let mut prepared = project.prepare(&pipeline, &[], &[], &origins).unwrap();
        if prepared.complete().is_ok() {
            prepared.fetch(&origins, &Log::default());
        }
        prepared.complete().err().map_or(Vec::new(), |e| e.0.into_iter().map(|d| d.message).collect())
    };
    let stage = |name: &str, path: &str| format!("[stage.{name}]\nuse = \"write\"\npath = \"{path}\"\n");
    let both = stage("a", "far:x") + &stage("b", "far:x");
    assert_eq!((problems(&both), FETCHED.swap(0, Ordering::Relaxed)), (vec![], 1));
    let slip = both.clone() + &stage("c", "slip.txt");
    assert_eq!(problems(&slip), ["stage `c` reads `slip.txt`, which does not exist"]);
    assert_eq!(FETCHED.swap(0, Ordering::Relaxed), 0);
    let gone = stage("a", "far:gone") + &stage("b", "far:gone");
    assert_eq!((problems(&gone), FETCHED.load(Ordering::Relaxed)), (vec!["far:gone is not there".to_string()], 1));
}
