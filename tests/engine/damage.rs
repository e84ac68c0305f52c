//! Damages every file of a cache in every way between two runs; pipe must never use a damaged file.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pipe_engine::contract::event::Event;
use pipe_engine::store::entry::Entry;

use super::disks::files;
use super::state::end_state;
use super::toys::{Dir, Ran};

const PIPELINE: &str = r#"
name = "damage"
[stage.heap]
use = "heap@2"
[stage.word]
use = "write@hello"
[stage.loud]
use = "shout@2"
in.text = ["heap", "word"]
[stage.all]
use = "join"
in.texts = "loud"
export = "out"
"#;

/// Makes the run read all objects again.
const CHANGED: &str = "\n[stage.also]\nuse = \"join\"\nin.texts = [\"heap\", \"word\", \"loud\", \"all\"]\n";

#[derive(Debug, Clone, Copy)]
enum Harm {
    Bit,
    Truncated,
    Emptied,
    /// A link to a file with the same bytes.
    Linked,
    Folder,
    /// A named pipe, which would block a reader.
    Pipe,
    Gone,
}

const HARMS: [Harm; 7] =
    [Harm::Bit, Harm::Truncated, Harm::Emptied, Harm::Linked, Harm::Folder, Harm::Pipe, Harm::Gone];

impl Harm {
    /// `nth` chooses the bit.
    fn apply(self, path: &Path, elsewhere: &Path, nth: usize) {
        let bytes = fs::read(path).unwrap();
        let copy = elsewhere.join(path.file_name().unwrap());
        fs::remove_file(path).unwrap();
        match self {
            Self::Bit => {
                let mut bytes = bytes;
                let at = nth * 7919 % (bytes.len() * 8);
                bytes[at / 8] ^= 1 << (at % 8);
                fs::write(path, bytes).unwrap();
            }
            Self::Truncated => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
            Self::Emptied => fs::write(path, "").unwrap(),
            Self::Linked => {
                fs::write(&copy, bytes).unwrap();
                symlink(&copy, path).unwrap();
            }
            Self::Folder => {
                fs::create_dir(path).unwrap();
                fs::write(path.join("x"), bytes).unwrap();
            }
            Self::Pipe => {
                assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
            }
            Self::Gone => {}
        }
    }
}

fn finished() -> Dir {
    let dir = Dir::new(PIPELINE);
    assert_eq!(dir.run().outcome.ran, 6 - 1);
    dir
}

/// The end state of the changed pipeline on an intact cache.
fn right() -> std::collections::BTreeMap<String, String> {
    let dir = finished();
    dir.write("p.toml", &(PIPELINE.to_string() + CHANGED));
    dir.run();
    end_state(dir.temp.path())
}

/// Whether the run reported damage, as an event or as the reason to run a stage.
fn was_told(ran: &Ran) -> bool {
    ran.events.iter().any(|e| match e {
        Event::Damaged { .. } => true,
        Event::StageStarted { why, .. } => {
            why.iter().any(|w| w.contains(" is damaged; pipe moved it to cache/damaged/"))
        }
        _ => false,
    })
}

fn harm_all(below: &str) {
    let right = right();
    let count = files(&finished().path(below)).len();
    assert!(count >= 4);
    for harm in HARMS {
        for nth in 0..count {
            let dir = finished();
            let path = files(&dir.path(below)).remove(nth);
            let what = format!("{harm:?}: {}", path.display());
            let elsewhere = tempfile::tempdir().unwrap();
            harm.apply(&path, elsewhere.path(), nth + 1);
            dir.write("p.toml", &(PIPELINE.to_string() + CHANGED));
            let ran = dir.run();
            assert_eq!(ran.outcome.failed + ran.outcome.blocked, 0, "{what}: {:?}", ran.summary());
            assert_eq!(end_state(dir.temp.path()), right, "{what}");
            if !matches!(harm, Harm::Gone) {
                assert!(was_told(&ran), "{what} was not reported: {:?}", ran.events);
                assert_eq!(fs::read_dir(dir.path("cache/damaged")).unwrap().count(), 1, "{what}");
            }
            assert!(dir.run().summary().iter().all(|s| s.starts_with("hit ")), "{what}");
        }
    }
}

#[test]
fn an_object_harmed_in_any_way_is_told_set_aside_and_made_again() {
    harm_all("cache/objects");
}

#[test]
fn an_entry_harmed_in_any_way_is_told_set_aside_and_made_again() {
    harm_all("cache/entries");
}

#[test]
fn every_single_bit_of_an_entry_counts_or_changes_nothing() {
    // For example a bit in white space.
    let dir = Dir::new("[stage.word]\nuse = \"write@hello\"\n");
    dir.run();
    let path = files(&dir.path("cache/entries")).remove(0);
    let (bytes, right) = (fs::read(&path).unwrap(), files(&dir.path("cache/objects")));
    let cache = dir.open().cache;
    for bit in 0..bytes.len() * 8 {
        let mut harmed = bytes.clone();
        harmed[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &harmed).unwrap();
        let entry = cache.entry(path.file_stem().unwrap().to_str().unwrap()).unwrap();
        let _ = fs::remove_dir_all(dir.path("cache/damaged"));
        if let Some(entry) = entry {
            assert_eq!(Some(entry), Entry::from_bytes(&bytes), "bit {bit}");
        }
    }
    dir.run();
    assert_eq!(files(&dir.path("cache/objects")), right);
}

#[test]
fn a_folder_of_objects_that_is_a_link_is_not_followed() {
    let dir = finished();
    let elsewhere = tempfile::tempdir().unwrap();
    let object = files(&dir.path("cache/objects")).remove(0);
    let folder = object.parent().unwrap();
    let target = elsewhere.path().join("ab");
    fs::create_dir(&target).unwrap();
    fs::copy(&object, target.join(object.file_name().unwrap())).unwrap();
    fs::remove_dir_all(folder).unwrap();
    symlink(&target, folder).unwrap();
    let before = files(elsewhere.path());
    dir.run();
    assert!(fs::symlink_metadata(folder).unwrap().is_dir());
    assert_eq!(files(elsewhere.path()), before, "nothing was written through the link");
}

#[test]
fn a_view_that_was_meddled_with_is_made_anew() {
    /// Modifies a view, with another folder to use for it.
    type Meddle = fn(&Path, &Path);
    let meddle: [(&str, Meddle); 5] = [
        ("other bytes", |view, _| {
            fs::remove_file(view.join("text")).unwrap();
            fs::write(view.join("text"), "jello").unwrap();
        }),
        ("a link", |view, elsewhere| {
            fs::write(elsewhere.join("text"), "jello").unwrap();
            fs::remove_file(view.join("text")).unwrap();
            symlink(elsewhere.join("text"), view.join("text")).unwrap();
        }),
        ("one file more", |view, _| fs::write(view.join("extra"), "x").unwrap()),
        ("a folder that is a link", |view, elsewhere| {
            let moved = elsewhere.join("view");
            fs::create_dir(&moved).unwrap();
            fs::write(moved.join("text"), "jello").unwrap();
            fs::remove_dir_all(view).unwrap();
            symlink(&moved, view).unwrap();
        }),
        ("a file for a folder", |view, _| {
            fs::remove_dir_all(view).unwrap();
            fs::write(view, "x").unwrap();
        }),
    ];
    for (what, meddle) in meddle {
        let dir = Dir::new("[stage.a]\nuse = \"write@hello\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\n");
        dir.run();
        let elsewhere = tempfile::tempdir().unwrap();
        let view = fs::read_dir(dir.path("cache/views")).unwrap().next().unwrap().unwrap().path();
        meddle(&view, elsewhere.path());
        let before = files(elsewhere.path());
        dir.write(
            "p.toml",
            "[stage.a]\nuse = \"write@hello\"\n[stage.b]\nuse = \"shout@2\"\nin.text = \"a\"\nexport = \"out\"\n",
        );
        assert_eq!(dir.run().summary(), ["hit a", "run b"], "{what}");
        assert_eq!(dir.read("out/text"), "HELLOHELLO", "{what}");
        assert_eq!(files(&view).len(), 1, "{what}");
        assert_eq!(files(elsewhere.path()), before, "{what}");
    }
}

#[test]
fn what_was_set_aside_before_is_kept() {
    let dir = finished();
    let object = |dir: &Dir| files(&dir.path("cache/objects")).remove(0);
    let harms = [Harm::Truncated, Harm::Folder, Harm::Emptied, Harm::Linked];
    for (n, harm) in harms.into_iter().enumerate() {
        let elsewhere = tempfile::tempdir().unwrap();
        harm.apply(&object(&dir), elsewhere.path(), 1);
        dir.run();
        assert_eq!(fs::read_dir(dir.path("cache/damaged")).unwrap().count(), n + 1);
    }
}

#[test]
fn garbage_beside_the_results_costs_time_at_most() {
    let right = end_state(finished().temp.path());
    let dir = finished();
    for file in ["history.sqlite", "history.sqlite-wal", "stat-cache.json"] {
        fs::write(dir.path("cache").join(file), "garbage ".repeat(1000)).unwrap();
    }
    assert!(dir.run().summary().iter().all(|s| s.starts_with("hit ")));
    assert_eq!(end_state(dir.temp.path()), right);
    let problem = dir.open().history_problem.unwrap();
    assert!(problem.starts_with("cannot open the run database cache/history.sqlite: "), "{problem}");
    // A database with an intact header and garbage behind it.
    let dir = finished();
    let mut bytes = fs::read(dir.path("cache/history.sqlite")).unwrap();
    bytes[100..].fill(b'#');
    let _ = fs::remove_file(dir.path("cache/history.sqlite-wal"));
    fs::write(dir.path("cache/history.sqlite"), bytes).unwrap();
    let ran = dir.run();
    assert!(ran.summary().iter().all(|s| s.starts_with("hit ")));
    let was_warned = |e: &Event| matches!(e, Event::Warning { text, .. } if text.contains("database"));
    assert!(ran.events.iter().any(was_warned) || dir.open().history_problem.is_some());
    let _ = fs::remove_file(dir.path("cache/stat-cache.json"));
    fs::create_dir(dir.path("cache/stat-cache.json")).unwrap();
    assert!(dir.run().summary().iter().all(|s| s.starts_with("hit ")));
}

#[test]
fn a_partial_full_of_leftovers_is_no_obstacle() {
    let right = finished();
    let dir = Dir::new(PIPELINE);
    let fingerprints: Vec<String> = right.open().cache.fingerprints().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("state"), "mine").unwrap();
    for (n, fingerprint) in fingerprints.iter().enumerate() {
        let partial = format!("cache/partial/{fingerprint}");
        fs::create_dir_all(dir.path("cache/partial")).unwrap();
        let link = |below: &str| {
            fs::create_dir_all(dir.path(&format!("{partial}{below}")).parent().unwrap()).unwrap();
            symlink(elsewhere.path(), dir.path(&format!("{partial}{below}"))).unwrap();
        };
        match n {
            0 => dir.write(&partial, "a file where the folder should be"),
            1 => link(""),
            2 => link("/out"),
            3 => {
                link("/work");
                dir.write(&format!("{partial}/out/text/more"), "that no stage of now writes");
            }
            _ => {
                dir.write(&format!("{partial}/out/text/text"), "of a dead process");
                dir.write(&format!("{partial}/out/text/more"), "that no stage of now writes");
                dir.write(&format!("{partial}/entry.json"), "{\"kind\": \"wri");
                link("/work/state");
                link(".lock");
            }
        }
        if n < 2 {
            dir.write(&format!("{partial}.lock"), "of nobody");
        }
    }
    for n in 0..200 {
        dir.write(&format!("cache/partial/{n:064}/work/foreign"), "not ours");
        dir.write(&format!("cache/entries/.tmp{n}"), "{");
    }
    let ran = dir.run();
    assert_eq!((ran.outcome.ran, ran.outcome.failed), (5, 0), "{:?}", ran.summary());
    let mine: Vec<PathBuf> = files(elsewhere.path());
    assert_eq!(mine, [elsewhere.path().join("state")], "nothing was written or removed through a link");
    assert_eq!(fs::read_to_string(&mine[0]).unwrap(), "mine");
    let mut state = end_state(dir.temp.path());
    state.retain(|path, _| !path.starts_with("cache/entries/.tmp"));
    assert_eq!(state, end_state(right.temp.path()));
}

#[test]
fn a_stage_that_writes_into_its_input_fails_and_harms_nothing() {
    let text = "[stage.a]\nuse = \"write@hello\"\n[stage.bad]\nuse = \"odd@scribble\"\nin.text = \"a\"\n";
    let dir = Dir::new(text);
    assert_eq!(
        dir.run().summary(),
        ["run a", "fail bad: text of `a` changed while the stage ran, so the result was discarded; run again"]
    );
    dir.write(
        "p.toml",
        "[stage.a]\nuse = \"write@hello\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\nexport = \"out\"\n",
    );
    assert_eq!(dir.run().summary(), ["run a", "run b"]);
    assert_eq!(dir.read("out/text"), "HELLO");
}

fn set_times(path: &Path, time: SystemTime) {
    File::options().write(true).open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

#[test]
fn clocks_that_go_back_hide_no_change() {
    let dir = Dir::new("[stage.a]\nuse = \"write\"\npath = \"in.txt\"\nexport = \"out\"\n");
    let input = dir.path("in.txt");
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    dir.write("in.txt", "one");
    // Written long ago, then with a clock that is ahead, then with the time set back; always the same size.
    for (text, time) in
        [("one", now - hour), ("two", now + hour), ("six", now + hour), ("ten", now - hour), ("one", now)]
    {
        dir.write("in.txt", text);
        set_times(&input, time);
        let ran = dir.run();
        assert_eq!(dir.read("out/text"), text, "{:?}", ran.summary());
    }
    // The digest of an old file is cached; that of a file modified a moment ago is not.
    assert_eq!(dir.run().summary(), ["hit a"]);
}

#[test]
fn results_made_in_the_future_are_results() {
    let dir = finished();
    for path in files(&dir.path("cache/entries")) {
        let mut entry = Entry::from_bytes(&fs::read(&path).unwrap()).unwrap();
        entry.made.at = 99_999_999_999;
        fs::write(&path, entry.to_bytes().unwrap()).unwrap();
        set_times(&path, SystemTime::now() + Duration::from_secs(1 << 30));
    }
    assert!(dir.run().summary().iter().all(|s| s.starts_with("hit ")));
}
