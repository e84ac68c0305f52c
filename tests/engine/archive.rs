//! An archive behind the cache: what it has is fetched, what is made is stored, and nothing it does harms a run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pipe_engine::contract::event::{Event, Outcome};
use pipe_engine::judge::plan::Action;
use pipe_engine::judge::project::Project;
use pipe_engine::store::archive::client::{Client, Delivery, Wanted};
use pipe_engine::store::archive::folder::Folder;
use pipe_engine::store::archive::seam::{Archive, Mode};
use pipe_engine::store::cache::Cache;
use pipe_engine::store::disk::{Disk, Os};
use pipe_engine::store::entry::Entry;
use proptest::prelude::*;

use super::disks::{ENOSPC, EROFS, Faulty, Recording, Trouble, files};
use super::shelf::Shelf;
use super::state::{assert_no_leftovers, assert_sound, end_state};
use super::toys::{Dir, Log, eventually};

/// Two branches, folders, an object that two stages share, exports.
const PIPELINE: &str = r#"
name = "archive"
[stage.heap]
use = "heap@3"
export = "out/heap"
[stage.other]
use = "write@hello"
[stage.loud]
use = "shout@2"
in.text = ["heap", "other"]
[stage.all]
use = "join"
in.texts = "loud"
export = "out/all"
"#;

const STAGES: usize = 5;

/// The smallest one with several files, for tests of every step on disk.
const SMALL: &str = r#"
name = "small"
[stage.heap]
use = "heap@1"
[stage.loud]
use = "shout@2"
in.text = "heap"
"#;

const SMALL_STAGES: usize = 2;

fn small() -> Dir {
    Dir::new(SMALL)
}

fn machine() -> Dir {
    Dir::new(PIPELINE)
}

/// A folder for an archive, in memory as the machines are.
fn share() -> Dir {
    let dir = Dir::new("");
    fs::remove_dir(dir.path("cache")).unwrap();
    dir
}

fn in_folder(share: &Dir) -> Client {
    on(share, Arc::new(Recording::default()))
}

fn on(share: &Dir, disk: Arc<dyn Disk>) -> Client {
    Client::new(Arc::new(Folder::open(share.temp.path(), disk)), Mode::ReadWrite)
}

fn read_only(share: &Dir) -> Client {
    Client::new(Arc::new(Folder::open(share.temp.path(), Arc::new(Os))), Mode::Read)
}

fn on_shelf(shelf: &Arc<Shelf>) -> Client {
    Client::new(shelf.clone(), Mode::ReadWrite)
}

struct Ran {
    outcome: Result<Outcome, String>,
    events: Vec<Event>,
}

impl Ran {
    fn outcome(&self) -> &Outcome {
        self.outcome.as_ref().unwrap()
    }

    /// Hits and runs; nothing may have failed.
    #[track_caller]
    fn counts(&self) -> (usize, usize) {
        let outcome = self.outcome();
        assert_eq!((outcome.failed, outcome.blocked), (0, 0), "{:?}", self.events);
        (outcome.hits, outcome.ran)
    }

    fn warnings(&self) -> Vec<String> {
        let text = |event: &Event| match event {
            Event::Warning { stage, text } => Some(stage.as_ref().map(|s| format!("{s}: ")).unwrap_or_default() + text),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }
}

fn run(dir: &Dir, client: Client) -> Ran {
    run_on(dir, client, Arc::new(Recording::default()))
}

fn run_on(dir: &Dir, client: Client, disk: Arc<dyn Disk>) -> Ran {
    let log = Log::default();
    let outcome = match Project::open_on(dir.temp.path(), None, disk) {
        Ok(project) => dir.run_in(&Project { archive: Some(Arc::new(client)), ..project }, &log),
        Err(e) => Err(e.to_string()),
    };
    Ran { outcome, events: log.events.into_inner().unwrap() }
}

/// What a run without an archive leaves.
fn right() -> BTreeMap<String, String> {
    right_of(&machine())
}

fn right_of(dir: &Dir) -> BTreeMap<String, String> {
    dir.run();
    end_state(dir.temp.path())
}

/// An archive that has the results of the pipeline.
fn filled() -> Dir {
    filled_by(&machine(), STAGES)
}

fn filled_by(machine: &Dir, stages: usize) -> Dir {
    let share = share();
    let ran = run(machine, in_folder(&share));
    assert_eq!((ran.counts(), ran.warnings()), ((0, stages), vec![]));
    share
}

/// Check that every entry of an archive is intact and complete, and return how many there are.
#[track_caller]
fn assert_whole(share: &Dir) -> usize {
    let entries = files(&share.path("entries"));
    for path in &entries {
        let entry = Entry::from_bytes(&fs::read(path).unwrap()).unwrap();
        for blob in entry.blobs() {
            let object = share.path("objects").join(&blob.digest[..2]).join(&blob.digest[2..]);
            assert_eq!(blake3::hash(&fs::read(object).unwrap()).to_hex().as_str(), blob.digest);
        }
    }
    entries.len()
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn another_machine_takes_everything_from_the_archive_and_ends_as_if_it_had_run() {
    let (share, second) = (filled(), machine());
    assert_eq!(assert_whole(&share), STAGES);
    let ran = run(&second, in_folder(&share));
    assert_eq!((ran.counts(), ran.warnings()), ((STAGES, 0), vec![]));
    assert!(!second.path("tally").exists(), "a stage ran");
    assert_eq!(end_state(second.temp.path()), right());
    assert_no_leftovers(second.temp.path());
    assert_sound(second.temp.path());
    // From now on the cache has it.
    assert_eq!(second.run().outcome.hits, STAGES);
}

#[test]
fn an_archive_is_laid_out_as_a_cache() {
    let (share, here) = (share(), machine());
    run(&here, in_folder(&share));
    for below in ["objects", "entries"] {
        let names = |root: PathBuf| -> BTreeMap<PathBuf, Vec<u8>> {
            let all = files(&root.join(below));
            all.iter().map(|p| (p.strip_prefix(&root).unwrap().into(), fs::read(p).unwrap())).collect()
        };
        assert_eq!(names(share.temp.path().into()), names(here.path("cache")));
    }
    assert_eq!(files(&share.path("incoming")), Vec::<PathBuf>::new(), "nothing is left over");
    let (shelf, dir) = (Shelf::new(), machine());
    run(&dir, on_shelf(&shelf));
    let folders = (files(&share.path("objects")).len(), files(&share.path("entries")).len());
    assert_eq!(shelf.counts(), folders, "both archives have the same");
}

#[test]
fn a_plan_says_what_only_the_archive_has_and_changes_nothing() {
    let (share, second) = (filled(), machine());
    let before = files(share.temp.path());
    let disk = Arc::new(Recording::default());
    let pipeline = second.resolve(None, &[]).unwrap();
    let project = Project::open_on(second.temp.path(), None, Arc::new(Os)).unwrap();
    let project = Project { archive: Some(Arc::new(on(&share, disk.clone()))), ..project };
    let plan = project.prepare(&pipeline, &[], &[], &[]).unwrap().job().plan(Default::default()).unwrap();
    for stage in &plan.stages {
        assert_eq!((stage.action, stage.why.join("; ").as_str()), (Action::Hit, "in the archive"), "{}", stage.stage);
    }
    let (count, bytes) = plan.fetches();
    let objects: u64 = files(&share.path("objects")).iter().map(|p| fs::metadata(p).unwrap().len()).sum();
    assert_eq!((count, bytes), (STAGES, objects));
    assert_eq!(files(share.temp.path()), before);
    assert_eq!(*disk.0.lock().unwrap(), [""; 0]);
    assert_eq!(files(&second.path("cache/objects")), Vec::<PathBuf>::new());
    // The saved plan has the bytes only for those stages.
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(text.matches("\"fetch\":").count(), STAGES);
    run(&second, in_folder(&share));
    assert!(!serde_json::to_string(&second.plan()).unwrap().contains("\"fetch\""));
}

#[test]
fn objects_are_stored_before_their_entry_and_a_run_of_hits_asks_nothing() {
    let (shelf, dir) = (Shelf::new(), machine());
    dir.write("p.toml", "[stage.a]\nuse = \"heap@2\"\n");
    assert_eq!(run(&dir, on_shelf(&shelf)).counts(), (0, 1));
    let asked = shelf.requests();
    assert_eq!(asked.last(), Some(&"store entry"), "{asked:?}");
    assert_eq!(asked.iter().filter(|verb| **verb == "store").count(), 3);
    assert_eq!(run(&dir, on_shelf(&shelf)).counts(), (1, 0));
    assert_eq!(shelf.requests(), [""; 0]);
}

#[test]
fn objects_that_the_cache_has_are_not_fetched() {
    let (shelf, second) = (Shelf::new(), machine());
    run(&machine(), on_shelf(&shelf));
    run(&second, on_shelf(&shelf));
    shelf.requests();
    fs::remove_dir_all(second.path("cache/entries")).unwrap();
    assert_eq!(run(&second, on_shelf(&shelf)).counts(), (STAGES, 0));
    let asked = shelf.requests();
    assert!(!asked.contains(&"fetch") && !asked.contains(&"store"), "{asked:?}");
    assert_eq!(end_state(second.temp.path()), right());
}

#[test]
fn a_forced_stage_runs_and_the_archive_is_not_asked_for_it() {
    let (share, second) = (filled(), machine());
    let project = Project { archive: Some(Arc::new(in_folder(&share))), ..second.open() };
    let pipeline = second.resolve(None, &[]).unwrap();
    let prepared = project.prepare(&pipeline, &[], &["other".into()], &[]).unwrap();
    let plan = prepared.job().plan(Default::default()).unwrap();
    let other = plan.stages.iter().find(|s| s.stage == "other").unwrap();
    assert_eq!((other.action, other.fetch), (Action::Run, None));
}

#[test]
fn a_damaged_object_or_entry_is_a_miss_with_a_warning_and_is_made_good() {
    let right = right();
    for below in ["objects", "entries"] {
        for nth in 0..files(&filled().path(below)).len() {
            let share = filled();
            let path = files(&share.path(below)).remove(nth);
            let what = path.display();
            flip(&path);
            let second = machine();
            let ran = run(&second, in_folder(&share));
            let (hits, made) = ran.counts();
            assert!(made >= 1 && hits + made == STAGES, "{what}: {hits} {made}");
            let warnings = ran.warnings();
            assert!(warnings.len() <= 2, "{what}: {warnings:?}");
            let noun = if below == "objects" { "the object" } else { "the entry" };
            assert!(
                warnings[0].contains(noun) && warnings[0].ends_with("is damaged; the stage runs here"),
                "{what}: {warnings:?}"
            );
            assert_eq!(end_state(second.temp.path()), right, "{what}");
            assert_sound(second.temp.path());
            // The archive has the right bytes again, and the wrong ones beside it.
            assert_eq!(assert_whole(&share), STAGES, "{what}");
            assert_eq!(files(&share.path("damaged")).len(), 1, "{what}");
            let third = machine();
            let ran = run(&third, in_folder(&share));
            assert_eq!((ran.counts(), ran.warnings()), ((STAGES, 0), vec![]), "{what}");
        }
    }
}

#[test]
fn a_missing_object_or_another_thing_in_its_place_is_a_miss_and_is_made_good() {
    let right = right();
    for nth in 0..files(&filled().path("objects")).len() {
        for harm in 0..3 {
            let share = filled();
            let path = files(&share.path("objects")).remove(nth);
            fs::remove_file(&path).unwrap();
            match harm {
                0 => {}
                1 => fs::write(&path, "of another size").unwrap(),
                _ => fs::create_dir(&path).unwrap(),
            }
            let second = machine();
            let ran = run(&second, in_folder(&share));
            assert!(ran.counts().1 >= 1);
            assert!(ran.warnings()[0].contains(" lacks the object "), "{:?}", ran.warnings());
            assert_eq!(end_state(second.temp.path()), right);
            assert_eq!(assert_whole(&share), STAGES);
            assert_eq!(run(&machine(), in_folder(&share)).counts(), (STAGES, 0));
        }
    }
}

#[test]
fn an_archive_that_is_only_read_is_never_written() {
    let share = filled();
    flip(&files(&share.path("objects"))[0]);
    flip(&files(&share.path("entries"))[0]);
    let before = files(share.temp.path());
    let second = machine();
    second.write("p.toml", &(PIPELINE.to_string() + "[stage.mine]\nuse = \"write@mine\"\n"));
    let ran = run(&second, read_only(&share));
    assert!(ran.counts().1 >= 2);
    assert_eq!(files(share.temp.path()), before);
    assert!(!second.path("cache/archive-outbox").exists(), "nothing is due");
}

#[test]
fn a_result_with_other_bytes_than_promised_is_never_used() {
    let (shelf, second) = (Shelf::new(), machine());
    run(&machine(), on_shelf(&shelf));
    shelf.lie();
    let ran = run(&second, on_shelf(&shelf));
    assert_eq!(ran.counts(), (0, STAGES));
    assert_eq!(end_state(second.temp.path()), right());
    assert_eq!(run(&machine(), on_shelf(&shelf)).counts(), (STAGES, 0), "it was made good");
}

#[test]
fn an_archive_that_fails_at_any_request_costs_one_warning_and_nothing_else() {
    let right = right();
    for is_filled in [false, true] {
        let requests = {
            let shelf = Shelf::new();
            if is_filled {
                run(&machine(), on_shelf(&shelf));
                shelf.requests();
            }
            run(&machine(), on_shelf(&shelf));
            shelf.requests().len()
        };
        for from in 1..=requests {
            let (shelf, dir) = (Shelf::new(), machine());
            if is_filled {
                run(&machine(), on_shelf(&shelf));
                shelf.requests();
            }
            shelf.fails_from.store(from, Ordering::Relaxed);
            let ran = run(&dir, on_shelf(&shelf));
            let (hits, made) = ran.counts();
            assert_eq!(hits + made, STAGES, "from {from}");
            assert_eq!(end_state(dir.temp.path()), right, "from {from}");
            let of = |what: &str| ran.warnings().iter().filter(|w| w.contains(what)).count();
            let (reads, writes) = (of("cannot read the archive shelf"), of("cannot write to the archive shelf"));
            assert!(reads <= 1 && writes <= 1 && reads + writes >= 1, "from {from}: {:?}", ran.warnings());
            assert_eq!(ran.warnings().len(), reads + writes, "from {from}: {:?}", ran.warnings());
            // The next run delivers what this one could not, even if it has nothing else to do.
            shelf.fails_from.store(0, Ordering::Relaxed);
            assert_eq!(run(&dir, on_shelf(&shelf)).counts(), (STAGES, 0), "from {from}");
            assert_eq!(run(&machine(), on_shelf(&shelf)).counts(), (STAGES, 0), "from {from}: delivered");
            shelf.requests();
            run(&dir, on_shelf(&shelf));
            assert_eq!(shelf.requests(), [""; 0], "from {from}: nothing is due any more");
        }
    }
}

#[test]
fn a_folder_that_does_not_exist_or_disappears_is_said_once() {
    let (share, dir) = (share(), machine());
    fs::remove_dir_all(share.temp.path()).unwrap();
    let ran = run(&dir, in_folder(&share));
    assert_eq!(ran.counts(), (0, STAGES));
    assert!(!share.temp.path().exists(), "a share that is not mounted stays empty");
    let name = share.temp.path().display();
    assert_eq!(
        ran.warnings(),
        [
            format!(
                "cannot read the archive {name}: the folder does not exist; the rest of this run goes on without it"
            ),
            format!(
                "cannot write to the archive {name}: the folder does not exist; the results are in the cache, and the next run or `pipe push` delivers them"
            )
        ]
    );
    fs::create_dir(share.temp.path()).unwrap();
    assert_eq!(run(&dir, in_folder(&share)).counts(), (STAGES, 0));
    assert_eq!(assert_whole(&share), STAGES);
}

#[test]
fn an_archive_that_never_answers_delays_a_run_by_its_patience_only() {
    let (shelf, dir) = (Shelf::new(), machine());
    shelf.hangs_on_reads.store(true, Ordering::Relaxed);
    shelf.hangs_on_writes.store(true, Ordering::Relaxed);
    let begin = Instant::now();
    let client = || on_shelf(&shelf).patience(Duration::from_millis(100)).wait(Duration::from_millis(100));
    let ran = run(&dir, client());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(ran.counts(), (0, STAGES));
    assert_eq!(end_state(dir.temp.path()), right());
    assert_eq!(
        ran.warnings(),
        [
            "cannot read the archive shelf: no answer within 0.1 s; the rest of this run goes on without it"
                .to_string(),
            format!("{STAGES} results are not in the archive shelf yet; the next run or `pipe push` delivers the rest")
        ]
    );
    shelf.hangs_on_reads.store(false, Ordering::Relaxed);
    shelf.hangs_on_writes.store(false, Ordering::Relaxed);
    run(&dir, on_shelf(&shelf));
    eventually(|| shelf.counts().1 == STAGES);
}

#[test]
fn a_process_that_dies_at_any_step_leaves_both_stores_sound_and_the_next_run_delivers() {
    let right = right_of(&small());
    for is_filled in [false, true] {
        let begin = || if is_filled { filled_by(&small(), SMALL_STAGES) } else { share() };
        let steps = {
            let disk = Arc::new(Recording::default());
            run_on(&small(), on(&begin(), disk.clone()), disk.clone());
            disk.0.lock().unwrap().len()
        };
        for n in 0..steps {
            let (share, dir) = (begin(), small());
            let when = format!("filled: {is_filled}, death at step {n} of {steps}");
            // One disk for both: the process dies as a whole.
            let disk = Arc::new(Faulty::new(n, Trouble::Crash));
            run_on(&dir, on(&share, disk.clone()), disk);
            assert_whole(&share);
            assert_sound(dir.temp.path());
            let ran = run(&dir, in_folder(&share));
            assert_eq!(ran.counts().0 + ran.counts().1, SMALL_STAGES, "{when}");
            assert_eq!(end_state(dir.temp.path()), right, "{when}");
            assert_no_leftovers(dir.temp.path());
            assert_eq!(assert_whole(&share), SMALL_STAGES, "{when}: everything is delivered");
        }
    }
}

#[test]
fn a_full_or_read_only_archive_at_any_step_harms_no_run() {
    let right = right_of(&small());
    let steps = {
        let disk = Arc::new(Recording::default());
        run(&small(), on(&share(), disk.clone()));
        disk.0.lock().unwrap().len()
    };
    for trouble in [Trouble::Once(ENOSPC), Trouble::On(ENOSPC), Trouble::On(EROFS)] {
        for n in 0..steps {
            let (share, dir) = (share(), small());
            let ran = run(&dir, on(&share, Arc::new(Faulty::new(n, trouble))));
            let when = format!("{trouble:?} at step {n}: {:?}", ran.warnings());
            assert_eq!(ran.counts(), (0, SMALL_STAGES), "{when}");
            assert!(ran.warnings().len() <= 1, "{when}");
            assert_whole(&share);
            assert_eq!(end_state(dir.temp.path()), right, "{when}");
            run(&dir, in_folder(&share));
            assert_eq!(assert_whole(&share), SMALL_STAGES, "{when}");
        }
    }
}

#[test]
fn a_full_cache_while_results_are_fetched_is_said_and_the_next_run_completes() {
    let (right, share) = (right_of(&small()), filled_by(&small(), SMALL_STAGES));
    let steps = {
        let disk = Arc::new(Recording::default());
        run_on(&small(), in_folder(&share), disk.clone());
        disk.0.lock().unwrap().len()
    };
    for n in 0..steps {
        let dir = small();
        run_on(&dir, in_folder(&share), Arc::new(Faulty::new(n, Trouble::Once(ENOSPC))));
        assert_sound(dir.temp.path());
        let ran = run(&dir, in_folder(&share));
        assert_eq!(ran.counts().0 + ran.counts().1, SMALL_STAGES);
        assert_eq!(end_state(dir.temp.path()), right, "step {n}");
    }
}

#[test]
fn machines_that_share_an_archive_at_the_same_time_end_alike() {
    let (right, share) = (right(), share());
    let machines: Vec<Dir> = (0..6).map(|_| machine()).collect();
    std::thread::scope(|scope| {
        for dir in &machines {
            let share = &share;
            scope.spawn(move || {
                let ran = run(dir, in_folder(share));
                assert_eq!(ran.counts().0 + ran.counts().1, STAGES);
                assert_eq!(ran.warnings(), [""; 0]);
            });
        }
    });
    for dir in &machines {
        assert_eq!(end_state(dir.temp.path()), right);
    }
    assert_eq!(assert_whole(&share), STAGES);
    assert_eq!(files(&share.path("incoming")), Vec::<PathBuf>::new());
    assert!(!share.path("damaged").exists());
}

#[test]
fn machines_that_disagree_are_told_which_file_differs_and_the_first_result_stays() {
    let (share, dir) = (share(), machine());
    dir.write("p.toml", "[stage.a]\nuse = \"write@x\"\n");
    run(&dir, in_folder(&share));
    let entry = files(&share.path("entries")).remove(0);
    let fingerprint = entry.file_stem().unwrap().to_str().unwrap().to_string();
    let first = fs::read(&entry).unwrap();

    let second = machine();
    let cache = Cache::open(&second.path("cache")).unwrap();
    let partial = cache.partial(&fingerprint);
    partial.prepare().unwrap();
    fs::create_dir(partial.out().join("text")).unwrap();
    fs::write(partial.out().join("text/text"), "another").unwrap();
    let mut other = Entry::from_bytes(&first).unwrap();
    let artifact = cache.measure(&partial.out().join("text"), "text").unwrap();
    other.outputs.insert("text".into(), artifact);
    cache.commit(&fingerprint, &other).unwrap();

    let client = in_folder(&share);
    let wanted = Wanted { fingerprint: &fingerprint, stage: Some("a") };
    assert_eq!(client.deliver(&cache, wanted).unwrap(), Delivery::Differs);
    let warning = client.take_warnings().remove(0);
    assert_eq!(warning.stage.as_deref(), Some("a"));
    assert_eq!(
        warning.text,
        format!(
            "the archive {} has another result for fingerprint {}, made on cpu by version {}: text/text differs; the archive keeps the first result, and this cache its own",
            share.temp.path().display(),
            &fingerprint[..12],
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(fs::read(&entry).unwrap(), first);
    // A first result that is no longer complete gives way.
    fs::remove_dir_all(share.path("objects")).unwrap();
    assert!(matches!(client.deliver(&cache, wanted).unwrap(), Delivery::Stored { .. }));
    assert_eq!(assert_whole(&share), 1);
    assert_eq!(client.deliver(&cache, wanted).unwrap(), Delivery::Present);
}

#[test]
fn damage_in_the_cache_is_mended_from_the_archive() {
    let (share, dir) = (share(), machine());
    dir.write("p.toml", "[stage.a]\nuse = \"heap@2\"\n");
    run(&dir, in_folder(&share));
    flip(&files(&dir.path("cache/objects"))[0]);
    fs::remove_file(dir.path("tally")).unwrap();
    dir.write("p.toml", "[stage.a]\nuse = \"heap@2\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\n");
    let ran = run(&dir, in_folder(&share));
    assert_eq!(ran.counts(), (1, 1));
    assert!(ran.events.iter().any(|e| matches!(e, Event::Damaged { .. })));
    assert!(!dir.path("tally").exists(), "the heap was fetched, not made");
}

#[test]
fn entries_carry_no_paths_of_the_machine() {
    let (share, dir) = (share(), machine());
    dir.write("in.txt", "x");
    dir.write("p.toml", &(PIPELINE.to_string() + "[stage.read]\nuse = \"write\"\npath = \"in.txt\"\n"));
    run(&dir, in_folder(&share));
    let root = dir.temp.path().to_string_lossy().into_owned();
    let name = dir.temp.path().file_name().unwrap().to_string_lossy().into_owned();
    for path in files(&share.path("entries")) {
        let text = fs::read_to_string(path).unwrap();
        assert!(!text.contains(&root) && !text.contains(&name), "{text}");
    }
}

#[test]
fn what_a_killed_process_left_is_removed_after_a_day() {
    let share = filled();
    let old = share.path("incoming/old");
    for name in ["incoming/old", "incoming/new"] {
        share.write(name, "half");
    }
    let day = Duration::from_secs(25 * 60 * 60);
    let then = std::time::SystemTime::now() - day;
    fs::File::options().write(true).open(&old).unwrap().set_modified(then).unwrap();
    let dir = machine();
    dir.write("p.toml", "[stage.a]\nuse = \"write@new\"\n");
    run(&dir, in_folder(&share));
    assert_eq!(files(&share.path("incoming")), [share.path("incoming/new")]);
}

#[derive(Debug, Clone)]
enum Step {
    Run {
        machine: usize,
        writes: bool,
    },
    Flip(usize),
    Lose(usize),
    /// The share is not mounted.
    Unmount,
    Mount,
    /// A machine loses its cache.
    Reset(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..3, any::<bool>()).prop_map(|(machine, writes)| Step::Run { machine, writes }),
        2 => any::<usize>().prop_map(Step::Flip),
        2 => any::<usize>().prop_map(Step::Lose),
        1 => Just(Step::Unmount),
        1 => Just(Step::Mount),
        2 => (0usize..3).prop_map(Step::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_the_archive_a_cache_ends_as_without_one(steps in prop::collection::vec(step(), 1..14)) {
        let (right, above) = (right(), share());
        let (root, away) = (above.path("share"), above.path("away"));
        fs::create_dir(&root).unwrap();
        let mut machines: Vec<Dir> = (0..3).map(|_| machine()).collect();
        for step in steps.into_iter().chain([Step::Mount, Step::Run { machine: 0, writes: true }]) {
            let nth = |n: usize| {
                let all: Vec<PathBuf> = files(&root).into_iter().filter(|p| !p.starts_with(root.join("damaged"))).collect();
                (!all.is_empty()).then(|| all[n % all.len()].clone())
            };
            match step {
                Step::Run { machine, writes } => {
                    let dir = &machines[machine];
                    let archive: Arc<dyn Archive> = Arc::new(Folder::open(&root, Arc::new(Recording::default())));
                    let mode = if writes { Mode::ReadWrite } else { Mode::Read };
                    let ran = run(dir, Client::new(archive, mode));
                    let (hits, made) = ran.counts();
                    prop_assert_eq!(hits + made, STAGES);
                    prop_assert_eq!(&end_state(dir.temp.path()), &right);
                }
                Step::Flip(n) => nth(n).iter().for_each(|path| flip(path)),
                Step::Lose(n) => nth(n).iter().for_each(|path| fs::remove_file(path).unwrap()),
                Step::Unmount => drop(fs::rename(&root, &away)),
                Step::Mount => drop(fs::rename(&away, &root)),
                Step::Reset(n) => machines[n] = machine(),
            }
        }
    }
}
