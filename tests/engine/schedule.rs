//! Which stages run at the same time, which wait, and which a failure does not affect.

use std::sync::atomic::AtomicBool;

use pipe_engine::contract::event::Event;
use pipe_engine::contract::run_id::RunId;
use pipe_engine::judge::plan::{Plan, Request};
use pipe_engine::run::executor::Threads;
use pipe_engine::run::schedule::{RunOptions, run};

use super::toys::{Dir, Log, Ran};

/// Run with this many CPU and GPU slots.
fn run_on(dir: &Dir, jobs: usize, gpus: usize, plan: Option<&Plan>) -> Ran {
    let pipeline = dir.resolve(None, &[]).unwrap();
    let project = dir.open();
    let prepared = project.prepare(&pipeline, &[], &[], &[]).unwrap();
    let options = RunOptions {
        id: &RunId::now(),
        jobs,
        keep_going: true,
        device: "cpu",
        gpus,
        memory: None,
        plan,
        executor: &Threads,
    };
    let log = Log::default();
    let outcome = run(&prepared.job(), &options, &log, &AtomicBool::new(false)).unwrap();
    Ran { outcome, events: log.events.into_inner().unwrap() }
}

/// `+a` when a stage starts, `-a` when it ends, in the order of events.
fn spans(ran: &Ran) -> Vec<String> {
    let span = |e: &Event| match e {
        Event::StageStarted { stage, .. } => Some(format!("+{stage}")),
        Event::StageDone { stage, .. } => Some(format!("-{stage}")),
        _ => None,
    };
    ran.events.iter().filter_map(span).collect()
}

fn at(spans: &[String], what: &str) -> usize {
    spans.iter().position(|s| s == what).unwrap_or_else(|| panic!("no {what} in {spans:?}"))
}

#[test]
fn a_gpu_stage_does_not_wait_behind_cpu_stages() {
    let cpu: String = (0..4).map(|i| format!("[stage.cpu{i}]\nuse = \"wait@20\"\ntag = \"{i}\"\n")).collect();
    let dir = Dir::new(&(cpu + "[stage.gpu]\nuse = \"wait@5\"\non-device = true\n"));
    let spans = spans(&run_on(&dir, 1, 1, None));
    assert!(at(&spans, "+gpu") < 2, "{spans:?}");
    assert!(at(&spans, "-gpu") < at(&spans, "+cpu1"), "{spans:?}");
}

#[test]
fn two_gpu_stages_share_one_gpu_in_turn() {
    let stages: String =
        (0..3).map(|i| format!("[stage.g{i}]\nuse = \"wait@5\"\ntag = \"{i}\"\non-device = true\n")).collect();
    assert_eq!(spans(&run_on(&Dir::new(&stages), 8, 1, None)), ["+g0", "-g0", "+g1", "-g1", "+g2", "-g2"]);
}

#[test]
fn without_a_gpu_a_device_stage_takes_a_cpu_slot() {
    let stages: String =
        (0..2).map(|i| format!("[stage.g{i}]\nuse = \"wait@5\"\ntag = \"{i}\"\non-device = true\n")).collect();
    assert_eq!(spans(&run_on(&Dir::new(&stages), 1, 0, None)), ["+g0", "-g0", "+g1", "-g1"]);
}

#[test]
fn stages_of_an_exclusive_group_never_run_at_the_same_time() {
    let stage = |i: usize| format!("[stage.s{i}]\nuse = \"wait@5\"\ntag = \"{i}\"\nexclusive = \"licence\"\n");
    let others = "[stage.other]\nuse = \"wait@30\"\ntag = \"other\"\n";
    let dir = Dir::new(&((0..3).map(stage).collect::<String>() + others));
    let spans = spans(&run_on(&dir, 8, 0, None));
    let group: Vec<&str> = spans.iter().map(String::as_str).filter(|s| s.contains('s')).collect();
    assert_eq!(group, ["+s0", "-s0", "+s1", "-s1", "+s2", "-s2"]);
    assert!(at(&spans, "+other") < at(&spans, "-s0"), "the rest does not wait for the group: {spans:?}");
}

#[test]
fn a_group_is_no_part_of_a_result() {
    let dir = Dir::new("[stage.a]\nuse = \"write@x\"\n");
    dir.run();
    dir.write("p.toml", "[stage.a]\nuse = \"write@x\"\nexclusive = \"g\"\n");
    assert_eq!(dir.run().summary(), ["hit a"]);
}

#[test]
fn a_failed_branch_leaves_the_others_alone() {
    let dir = Dir::new(
        "[stage.bad]\nuse = \"fail@error\"\n[stage.after]\nuse = \"shout\"\nin.text = \"bad\"\n[stage.last]\nuse = \"count\"\nin.text = \"after\"\n\
         [stage.good]\nuse = \"write@x\"\n[stage.fine]\nuse = \"shout\"\nin.text = \"good\"\n[stage.mixed]\nuse = \"join\"\nin.texts = [\"fine\", \"last-text\"]\n[stage.last-text]\nuse = \"shout\"\nin.text = \"after\"\n",
    );
    let ran = run_on(&dir, 2, 0, None);
    assert_eq!(
        ran.sorted(),
        [
            "blocked after by bad",
            "blocked last by bad",
            "blocked last-text by bad",
            "blocked mixed by bad",
            "fail bad: it was told to",
            "run fine",
            "run good"
        ]
    );
}

#[test]
fn the_longest_chain_goes_first_once_it_has_been_timed() {
    let dir = Dir::new("[stage.short]\nuse = \"wait@2\"\n[stage.long]\nuse = \"wait@40\"\n");
    assert_eq!(spans(&run_on(&dir, 1, 0, None))[0], "+short", "the file's order while nothing is known");
    dir.write("p.toml", "[stage.short]\nuse = \"wait@3\"\n[stage.long]\nuse = \"wait@41\"\n");
    assert_eq!(spans(&run_on(&dir, 1, 0, None))[0], "+long");
}

const CHAIN: &str = "[stage.a]\nuse = \"write\"\npath = \"a.txt\"\n[stage.b]\nuse = \"shout@2\"\nin.text = \"a\"\n";

fn planned(dir: &Dir) -> Plan {
    let pipeline = dir.resolve(None, &[]).unwrap();
    let project = dir.open();
    project.prepare(&pipeline, &[], &[], &[]).unwrap().job().plan(Request::default()).unwrap()
}

#[test]
fn a_plan_binds_the_run() {
    let dir = Dir::new(CHAIN);
    dir.write("a.txt", "one");
    let plan = planned(&dir);
    assert_eq!(run_on(&dir, 2, 0, Some(&plan)).summary(), ["run a", "run b"]);
    // Both results now exist, which differs from the plan.
    let moved = run_on(&dir, 2, 0, Some(&plan)).summary();
    assert_eq!(
        moved,
        [
            "fail a: changed since the plan was made: planned as a run, now a hit: its result is now in the cache",
            "blocked b by a"
        ]
    );
    let plan = planned(&dir);
    dir.write("a.txt", "two");
    let moved = run_on(&dir, 2, 0, Some(&plan)).summary();
    assert!(moved[0].starts_with("fail a: changed since the plan was made: file a.txt "), "{moved:?}");
}

#[test]
fn a_plan_that_was_read_back_says_the_same() {
    let dir = Dir::new(CHAIN);
    dir.write("a.txt", "one");
    let plan = planned(&dir);
    let back: Plan = serde_json::from_slice(&serde_json::to_vec(&plan).unwrap()).unwrap();
    assert_eq!(back, plan);
    assert_eq!(plan.moved(&back), []);
}

#[test]
fn what_moved_since_a_plan_is_named_by_stage_and_line() {
    let dir = Dir::new(CHAIN);
    dir.write("a.txt", "one");
    dir.run();
    let plan = planned(&dir);
    dir.write("p.toml", &(CHAIN.replace("shout@2", "shout@3") + "[stage.c]\nuse = \"write@x\"\n"));
    let moved: Vec<_> = plan.moved(&planned(&dir)).into_iter().map(|m| (m.stage, m.what, m.label)).collect();
    assert_eq!(
        moved,
        [
            ("b".into(), "times 2 → 3".to_string(), Some("times".to_string())),
            ("c".into(), "not in the plan".into(), None)
        ]
    );
    let moved: Vec<_> = planned(&dir).moved(&plan).into_iter().map(|m| (m.stage, m.what)).collect();
    assert_eq!(
        moved,
        [("b".into(), "times 3 → 2".to_string()), ("c".into(), "in the plan, but no longer in the pipeline".into())]
    );
}

#[test]
fn an_input_that_comes_from_elsewhere_is_a_move_though_neither_is_made_yet() {
    let text = |from: &str| {
        format!(
            "[stage.a]\nuse = \"write@x\"\n[stage.b]\nuse = \"write@y\"\n[stage.c]\nuse = \"shout\"\nin.text = \"{from}\"\n"
        )
    };
    let dir = Dir::new(&text("a"));
    let plan = planned(&dir);
    dir.write("p.toml", &text("b"));
    let moved: Vec<_> = plan.moved(&planned(&dir)).into_iter().map(|m| (m.stage, m.what)).collect();
    assert_eq!(moved, [("c".to_string(), "in.text a → b".to_string())]);
}

#[test]
fn a_plan_made_before_a_download_holds_after_it() {
    use pipe_engine::contract::kind::What;
    use pipe_engine::contract::origin::{Fetched, Origin};
    let fetched = |_: &str, _: What, _: &dyn pipe_engine::contract::event::Observer| {
        Ok(Fetched { dir: concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into(), identity: Some("c0ffee".into()) })
    };
    let origins = [Origin { prefix: "far:", held: |_, _| Ok(None), fetch: fetched }];
    let dir = Dir::new("[stage.a]\nuse = \"write\"\npath = \"far:x\"\n[stage.b]\nuse = \"count\"\nin.text = \"a\"\n");
    let pipeline = dir.resolve(None, &[]).unwrap();
    let project = dir.open();
    let mut prepared = project.prepare(&pipeline, &[], &[], &origins).unwrap();
    let plan = prepared.job().plan(Request::default()).unwrap();
    let log = Log::default();
    prepared.fetch(&origins, &log);
    let options = RunOptions {
        id: &RunId::now(),
        jobs: 1,
        keep_going: true,
        device: "cpu",
        gpus: 0,
        memory: None,
        plan: Some(&plan),
        executor: &Threads,
    };
    let outcome = run(&prepared.job(), &options, &log, &AtomicBool::new(false)).unwrap();
    assert_eq!((outcome.ran, outcome.failed), (2, 0), "{:?}", log.events.lock().unwrap());
}

#[test]
fn an_input_that_cannot_be_read_fails_its_stage_and_no_other() {
    let dir = Dir::new("[stage.a]\nuse = \"write\"\npath = \"a.txt\"\n[stage.b]\nuse = \"write@x\"\n");
    dir.write("a.txt", "one");
    let pipeline = dir.resolve(None, &[]).unwrap();
    let project = dir.open();
    let prepared = project.prepare(&pipeline, &[], &[], &[]).unwrap();
    std::fs::remove_file(dir.path("a.txt")).unwrap();
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
    let log = Log::default();
    let outcome = run(&prepared.job(), &options, &log, &AtomicBool::new(false)).unwrap();
    let said = Ran { outcome, events: log.events.into_inner().unwrap() }.sorted();
    assert_eq!(said, ["fail a: cannot read a.txt: No such file or directory (os error 2)", "run b"]);
}

#[test]
fn a_stage_that_is_forced_has_nothing_to_be_compared_with() {
    let dir = Dir::new("[stage.a]\nuse = \"write@x\"\n");
    dir.run();
    let ran = dir.run_with(&[], &["a"], true, &AtomicBool::new(false), Log::default());
    assert!(ran.events.iter().any(|e| matches!(e, Event::StageDone { unchanged: false, .. })), "{:?}", ran.events);
}
