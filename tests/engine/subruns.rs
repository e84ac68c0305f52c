//! Trials: a running stage asks for results of other stages with other parameters.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use pipe_engine::contract::event::Event;
use pipe_engine::contract::run_id::RunId;
use pipe_engine::run::executor::Threads;
use pipe_engine::run::schedule::{RunOptions, run};
use pipe_engine::store::collect::Mode;

use super::toys::{Dir, Log, Ran};

fn run_on(dir: &Dir, jobs: usize, targets: &[&str], stop: &AtomicBool, log: Log) -> Ran {
    let pipeline = dir.resolve(None, &[]).unwrap_or_else(|e| panic!("{:#?}", e.0));
    let project = dir.open();
    let targets: Vec<String> = targets.iter().map(|t| t.to_string()).collect();
    let prepared = project.prepare(&pipeline, &targets, &[], &[]).unwrap();
    let options = RunOptions {
        id: &RunId::now(),
        jobs,
        keep_going: true,
        device: "cpu",
        gpus: 0,
        memory: None,
        plan: None,
        executor: &Threads,
    };
    let outcome = run(&prepared.job(), &options, &log, stop).unwrap();
    Ran { outcome, events: log.events.into_inner().unwrap() }
}

fn one_at_a_time(dir: &Dir) -> Ran {
    run_on(dir, 1, &[], &AtomicBool::new(false), Log::default())
}

const PLAIN: &str = "[stage.a]\nuse = \"write@ab\"\n[stage.loud]\nuse = \"shout\"\nin.text = \"a\"\n";
const GRID: &str =
    "[stage.best]\nuse = \"grid\"\ntarget = \"loud\"\nkey = \"times\"\nvalues = [1, 2, 3]\nexport = \"out\"\n";

#[test]
fn trials_run_one_at_a_time_without_a_deadlock_and_are_cached() {
    let dir = Dir::new(&format!("{PLAIN}{GRID}"));
    assert_eq!(
        one_at_a_time(&dir).summary(),
        ["run a", "run loud", "hit loud[trial=0]", "run loud[trial=1]", "run loud[trial=2]", "run best"]
    );
    assert_eq!(dir.read("out/text"), "ABABAB");
    assert_eq!(one_at_a_time(&dir).summary(), ["hit a", "hit loud", "hit best"]);
    // More values: only the new one runs.
    dir.write("p.toml", &format!("{PLAIN}{}", GRID.replace("[1, 2, 3]", "[1, 2, 3, 4]")));
    let ran = one_at_a_time(&dir);
    assert_eq!(
        ran.summary(),
        [
            "hit a",
            "hit loud",
            "hit loud[trial=0]",
            "hit loud[trial=1]",
            "hit loud[trial=2]",
            "run loud[trial=3]",
            "run best"
        ]
    );
    assert_eq!((ran.outcome.ran, ran.outcome.hits), (1, 2), "trials are not stages of the run");
}

#[test]
fn a_trial_is_what_a_file_with_its_values_would_give() {
    // By trial first, then by hand.
    let dir = Dir::new(&format!("{PLAIN}{GRID}"));
    one_at_a_time(&dir);
    dir.write("p.toml", &PLAIN.replace("\"shout\"", "\"shout@3\""));
    assert_eq!(one_at_a_time(&dir).summary(), ["hit a", "hit loud"]);
    // By hand first, then by trial; through a stage between, and a port that takes many.
    let between = format!(
        "{PLAIN}[stage.more]\nuse = \"join\"\nin.texts = [\"loud\", \"a\"]\n[stage.last]\nuse = \"shout\"\nin.text = \"more\"\n"
    );
    let dir = Dir::new(&between.replace("\"shout\"\nin.text = \"a\"", "\"shout@2\"\nin.text = \"a\""));
    one_at_a_time(&dir);
    let grid = "[stage.best]\nuse = \"grid\"\ntarget = \"last\"\nstage = \"loud\"\nkey = \"times\"\nvalues = [2]\n";
    dir.write("p.toml", &format!("{between}{grid}"));
    let said = run_on(&dir, 1, &["best"], &AtomicBool::new(false), Log::default()).summary();
    assert_eq!(said, ["hit a", "hit loud[trial=0]", "hit more[trial=0]", "hit last[trial=0]", "run best"]);
}

#[test]
fn what_trials_depend_on_is_part_of_their_parent() {
    let dir = Dir::new(&format!("{PLAIN}{GRID}"));
    one_at_a_time(&dir);
    dir.write("p.toml", &format!("{PLAIN}first = true\n{GRID}"));
    assert_eq!(dir.planned(), ["hit a", "run loud: first false → true", "run best: loud.first false → true"]);
    dir.write("p.toml", &format!("{PLAIN}log-every = 3\n{GRID}"));
    assert_eq!(dir.planned(), ["hit a", "hit loud", "hit best"]);
    dir.write("p.toml", &format!("{}{GRID}", PLAIN.replace("@ab", "@abc")));
    assert_eq!(
        dir.planned(),
        ["run a: text \"ab\" → \"abc\"", "may loud: in.text: a will change", "may best: in.loud.text: a will change"]
    );
    one_at_a_time(&dir);
    assert_eq!(dir.read("out/text"), "ABCABCABC");
}

#[test]
fn trials_run_side_by_side_and_their_parent_takes_no_slot() {
    let wait = "[stage.w]\nuse = \"wait@1\"\n";
    let grid = "[stage.best]\nuse = \"grid\"\ntarget = \"w\"\nkey = \"ticks\"\nvalues = [20, 21, 22]\ncpus = 3\n";
    let dir = Dir::new(&format!("{wait}{grid}"));
    let ran = run_on(&dir, 3, &["best"], &AtomicBool::new(false), Log::default());
    let spans: Vec<String> = ran
        .events
        .iter()
        .filter_map(|e| match e {
            Event::StageStarted { stage, .. } => Some(format!("+{stage}")),
            Event::StageDone { stage, .. } => Some(format!("-{stage}")),
            Event::TrialsStarted { parent, stages } => Some(format!("{parent}: {}", stages.len())),
            _ => None,
        })
        .collect();
    assert_eq!(spans[..5], ["+best", "best: 3", "+w[trial=0]", "+w[trial=1]", "+w[trial=2]"], "{spans:?}");
    assert_eq!(spans.last().unwrap(), "-best");
}

#[test]
fn a_trial_leaves_the_slots_of_other_stages_alone() {
    // Two parents and a plain stage share two slots.
    let mut file = String::from("[stage.w]\nuse = \"wait@1\"\n[stage.other]\nuse = \"wait@15\"\ntag = \"o\"\n");
    for name in ["one", "two"] {
        let from = if name == "one" { 5 } else { 8 };
        file += &format!(
            "[stage.{name}]\nuse = \"grid\"\ntarget = \"w\"\nkey = \"ticks\"\nvalues = [{from}, {}, {}]\n",
            from + 1,
            from + 2
        );
    }
    let ran = run_on(&Dir::new(&file), 2, &[], &AtomicBool::new(false), Log::default());
    assert_eq!((ran.outcome.ran, ran.outcome.failed), (4, 0), "{:?}", ran.summary());
    let (mut running, mut most) = (HashSet::new(), 0);
    for event in &ran.events {
        match event {
            Event::StageStarted { stage, .. } if stage != "one" && stage != "two" => running.extend([stage]),
            Event::StageDone { stage, .. } => running.retain(|known| *known != stage),
            _ => {}
        }
        most = most.max(running.len());
    }
    assert_eq!(most, 2);
}

#[test]
fn a_stopped_search_goes_on_from_the_checkpoint_of_the_trial_that_was_cut() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let dir = Dir::new(
        "[stage.w]\nuse = \"wait@1\"\n[stage.best]\nuse = \"grid\"\ntarget = \"w\"\nkey = \"ticks\"\nvalues = [30, 40]\nexport = \"out\"\n",
    );
    let log = Log { stop_on_note: Some(&STOP), ..Log::default() };
    let cut = run_on(&dir, 1, &["best"], &STOP, log);
    assert_eq!(cut.summary(), ["interrupted w[trial=0]", "interrupted best"]);
    assert!(cut.outcome.interrupted && cut.outcome.failed == 0);
    let ran = run_on(&dir, 1, &["best"], &AtomicBool::new(false), Log::default());
    assert_eq!(ran.summary(), ["run w[trial=0]", "run w[trial=1]", "run best"]);
    let why = ran.events.iter().find_map(|e| match e {
        Event::StageStarted { stage, why, .. } if stage == "w[trial=0]" => Some(why.clone()),
        _ => None,
    });
    assert_eq!(why.unwrap(), ["continues where it was interrupted"]);
    assert_eq!(dir.read("out/text"), "30", "of equal length, the first");
}

#[test]
fn a_trial_that_fails_is_a_value() {
    let file = |values: &str| {
        format!(
            "[stage.a]\nuse = \"write@x\"\n[stage.f]\nuse = \"fussy\"\ntimes = 1\nin.text = \"a\"\n[stage.best]\nuse = \"grid\"\ntarget = \"f\"\nkey = \"times\"\nvalues = {values}\nexport = \"out\"\n"
        )
    };
    let dir = Dir::new(&file("[2, 13, 3]"));
    let ran = run_on(&dir, 1, &["best"], &AtomicBool::new(false), Log::default());
    assert_eq!((ran.outcome.ran, ran.outcome.failed), (2, 0));
    assert_eq!(dir.read("out/text"), "xxx");
    let failed: Vec<String> = ran.summary().into_iter().filter(|line| line.starts_with("fail")).collect();
    assert_eq!(failed, ["fail f[trial=1]: 13 is unlucky"]);
    dir.write("p.toml", &file("[13]"));
    let said = run_on(&dir, 1, &["best"], &AtomicBool::new(false), Log::default()).summary();
    assert_eq!(said, ["hit a", "fail f[trial=0]: 13 is unlucky", "fail best: all trials failed"]);
}

#[test]
fn a_failure_upstream_of_the_varied_stage_names_its_cause() {
    let dir = Dir::new(
        "[stage.a]\nuse = \"write@x\"\n[stage.f]\nuse = \"fussy\"\ntimes = 1\nin.text = \"a\"\n[stage.last]\nuse = \"shout\"\nin.text = \"f\"\n[stage.best]\nuse = \"grid\"\ntarget = \"last\"\nstage = \"f\"\nkey = \"times\"\nvalues = [13]\n",
    );
    let ran = run_on(&dir, 1, &["best"], &AtomicBool::new(false), Log::default());
    let noted: Vec<&str> = ran
        .events
        .iter()
        .filter_map(|e| if let Event::Note { text, .. } = e { Some(text.as_str()) } else { None })
        .collect();
    assert_eq!(noted, ["f[trial=0] failed: 13 is unlucky"]);
}

#[test]
fn mistakes_are_told_before_anything_runs() {
    let problems = |grid: &str| -> Vec<String> {
        let found = Dir::new(&format!("{PLAIN}{grid}")).resolve(None, &[]).err().map(|all| all.0).unwrap_or_default();
        found.into_iter().map(|d| d.message).collect()
    };
    assert_eq!(problems(&GRID.replace("\"loud\"", "\"lout\"")), ["unknown stage `lout`"]);
    assert_eq!(problems(&GRID.replace("\"loud\"", "\"best\"")), ["the stages form a cycle: best → best"]);
    let apart = GRID.replace("target = \"loud\"", "target = \"a\"\nstage = \"loud\"");
    assert_eq!(problems(&apart), ["`a` does not depend on stage `loud`"]);
    let many = format!("{PLAIN}matrix = {{ seed = [1, 2] }}\n{GRID}");
    let found = Dir::new(&many).resolve(None, &[]).err().unwrap();
    assert_eq!(found.0[0].message, "`loud` is not one instance of a stage");
    assert_eq!(found.0[0].help, ["name one of `loud[seed=1]`, `loud[seed=2]`"]);
}

#[test]
fn a_trial_cannot_run_trials() {
    let outer = "[stage.outer]\nuse = \"grid\"\ntarget = \"best\"\nstage = \"loud\"\nkey = \"times\"\nvalues = [5]\n";
    let inner = format!("{PLAIN}{GRID}").replace("export = \"out\"\n", "");
    // The inner grid does not depend on `loud` by an input, so only its own parameters can vary …
    let found = Dir::new(&format!("{inner}{outer}")).resolve(None, &[]).err().unwrap();
    assert_eq!(found.0[0].message, "`best` does not depend on stage `loud`");
    // … and then a trial of it is refused when it runs.
    let outer = "[stage.outer]\nuse = \"grid\"\ntarget = \"best\"\nkey = \"round\"\nvalues = [5]\n";
    let dir = Dir::new(&format!("{inner}{outer}"));
    let said = run_on(&dir, 1, &["outer"], &AtomicBool::new(false), Log::default()).summary();
    assert!(said[1].starts_with("fail best[trial=0]: `best[trial=0]` cannot run trials here: "), "{said:?}");
    assert_eq!(said[2], "fail outer: all trials failed");
}

#[test]
fn a_trial_can_set_the_seed() {
    let dir = Dir::new(&PLAIN.replace("\"shout\"", "\"shout\"\nseed = 7"));
    one_at_a_time(&dir);
    let grid = "[stage.best]\nuse = \"grid\"\ntarget = \"loud\"\nkey = \"seed\"\nvalues = [7, 8]\n";
    dir.write("p.toml", &format!("{PLAIN}{grid}"));
    let said = run_on(&dir, 1, &["best"], &AtomicBool::new(false), Log::default()).summary();
    assert_eq!(said, ["hit a", "hit loud[trial=0]", "run loud[trial=1]", "run best"]);
}

#[test]
fn a_collection_keeps_the_trials_of_what_it_keeps() {
    let dir = Dir::new(&format!("{PLAIN}{GRID}"));
    let ran = run_on(&dir, 1, &["best"], &AtomicBool::new(false), Log::default());
    let fingerprint = |name: &str| {
        let found = ran.events.iter().find_map(|e| match e {
            Event::StageDone { stage, fingerprint, .. } if stage == name => Some(fingerprint.clone()),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{name} did not run"))
    };
    let cache = dir.open().cache;
    let best = fingerprint("best");
    let entry = cache.entry(&best).unwrap().unwrap();
    let names: Vec<&str> = entry.made.subs.iter().map(|sub| sub.stage.as_str()).collect();
    assert_eq!(names, ["loud[trial=0]", "loud[trial=1]", "loud[trial=2]"]);
    let done = cache.collect(Mode::Remove, &|f, _| f == best).unwrap();
    let gone: Vec<String> = done.results.into_iter().map(|gone| gone.fingerprint).collect();
    assert_eq!((done.kept_results, gone), (4, vec![fingerprint("a")]));
    assert!(cache.entry(&fingerprint("loud[trial=2]")).unwrap().is_some());
    // The history has them too.
    let latest = dir.open().history.unwrap().latest("p").unwrap();
    assert_eq!(latest["loud[trial=2]"].fingerprint, fingerprint("loud[trial=2]"));
    let done = cache.collect(Mode::Remove, &|_, _| false).unwrap();
    assert_eq!(done.kept_results, 0);
}

#[test]
fn a_collection_keeps_the_trials_of_an_unfinished_stage() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let dir = Dir::new(
        "[stage.w]\nuse = \"wait@1\"\n[stage.best]\nuse = \"grid\"\ntarget = \"w\"\nkey = \"ticks\"\nvalues = [1, 30]\n",
    );
    run_on(&dir, 1, &["w"], &AtomicBool::new(false), Log::default());
    let log = Log { stop_on_note: Some(&STOP), ..Log::default() };
    let cut = run_on(&dir, 1, &["best"], &STOP, log);
    assert_eq!(cut.summary(), ["hit w[trial=0]", "interrupted w[trial=1]", "interrupted best"]);
    let best = cut.events.iter().find_map(|e| match e {
        Event::StageStarted { stage, fingerprint, .. } if stage == "best" => Some(fingerprint.clone()),
        _ => None,
    });
    let best = best.unwrap();
    let done = dir.open().cache.collect(Mode::Remove, &|f, _| f == best).unwrap();
    assert_eq!((done.kept_results, done.results.len()), (1, 0));
}

#[test]
fn a_series_is_the_same_for_every_number_of_slots() {
    let wait = "[stage.w]\nuse = \"wait@1\"\n";
    for parallel in 1..=3 {
        let hunt = format!(
            "[stage.best]\nuse = \"hunt\"\ntarget = \"w\"\nkey = \"ticks\"\ncount = 6\nparallel = {parallel}\nexport = \"out\"\n"
        );
        let mut all = HashSet::new();
        for jobs in [1, 2, 4] {
            let dir = Dir::new(&format!("{wait}{hunt}"));
            let ran = run_on(&dir, jobs, &["best"], &AtomicBool::new(false), Log::default());
            assert_eq!((ran.outcome.ran, ran.outcome.failed), (1, 0), "{:?}", ran.summary());
            let most = most_at_a_time(&ran.events);
            assert!(most <= parallel.min(jobs), "{most} trials at a time, {parallel} of the series, {jobs} slots");
            all.insert(dir.read("out/text"));
        }
        assert_eq!(all.len(), 1, "{all:?}");
    }
}

/// The most trials of `w` that ran at a time.
fn most_at_a_time(events: &[Event]) -> usize {
    let (mut running, mut most) = (HashSet::new(), 0);
    for event in events {
        match event {
            Event::StageStarted { stage, .. } if stage.starts_with("w[") => drop(running.insert(stage.clone())),
            Event::StageDone { stage, .. } => drop(running.remove(stage)),
            _ => {}
        }
        most = most.max(running.len());
    }
    most
}

#[test]
fn values_that_trials_cannot_have_are_found_when_the_file_is_read() {
    let said = |file: &str| -> Vec<String> {
        let Err(problems) = Dir::new(file).resolve(None, &[]) else { return Vec::new() };
        let place = |p: &pipe_engine::text::diagnostic::Place| p.source.text[p.span.clone()].to_string();
        problems
            .0
            .iter()
            .map(|d| format!("{} @ {}", d.message, d.place.as_ref().map_or(String::new(), place)))
            .collect()
    };
    let file = format!("{PLAIN}{}", GRID.replace("[1, 2, 3]", "[1, -2]"));
    assert_eq!(said(&file), ["expected a whole number, 0 or more, found the number -2 @ -2"]);
    let file = format!("{PLAIN}{}", GRID.replace("\"times\"", "\"tims\""));
    assert!(said(&file)[0].starts_with("`shout` has no parameter `tims` @ "), "{:?}", said(&file));
    let hunt = "[stage.n]\nuse = \"count\"\nin.text = \"a\"\n[stage.best]\nuse = \"hunt\"\ntarget = \"n\"\nkey = \"x\"\ncount = 1\n";
    assert_eq!(said(&format!("{PLAIN}{hunt}")), ["`n` (`count`) gives no text @ \"n\""]);
}
