//! What stages occupy: amounts in the pipeline file, what fits together, and what is told before the first stage.

use std::sync::atomic::AtomicBool;

use pipe_engine::contract::event::Event;
use pipe_engine::contract::needs::{Machine, Needs};
use pipe_engine::contract::run_id::RunId;
use pipe_engine::run::executor::Threads;
use pipe_engine::run::schedule::{RunOptions, run};

use super::toys::{Dir, Log, Ran};

fn run_on(dir: &Dir, machine: Machine) -> Ran {
    let pipeline = dir.resolve(None, &[]).unwrap();
    let project = dir.open();
    let prepared = project.prepare(&pipeline, &[], &[], &[]).unwrap();
    let Machine { cpus: jobs, memory, gpus } = machine;
    let options = RunOptions {
        id: &RunId::now(),
        jobs,
        keep_going: true,
        device: "cpu",
        gpus,
        memory,
        plan: None,
        executor: &Threads,
    };
    let log = Log::default();
    let outcome = run(&prepared.job(), &options, &log, &AtomicBool::new(false)).unwrap();
    Ran { outcome, events: log.events.into_inner().unwrap() }
}

/// The most stages that ran at the same time.
fn most(ran: &Ran) -> usize {
    let (mut running, mut most) = (0usize, 0);
    for event in &ran.events {
        match event {
            Event::StageStarted { .. } => running += 1,
            Event::StageDone { .. } => running -= 1,
            _ => {}
        }
        most = most.max(running);
    }
    most
}

fn too_large(dir: &Dir, machine: Machine) -> Vec<(String, String)> {
    let pipeline = dir.resolve(None, &[]).unwrap();
    let project = dir.open();
    let prepared = project.prepare(&pipeline, &[], &[], &[]).unwrap();
    let found = prepared.job().too_large(&machine).unwrap();
    let line = |d: &pipe_engine::text::diagnostic::Diagnostic| {
        let place = d.place.as_ref().unwrap();
        (d.message.clone(), place.source.text[place.span.clone()].to_string())
    };
    found.iter().flat_map(|all| all.0.iter().map(line)).collect()
}

const MACHINE: Machine = Machine { cpus: 4, memory: Some(8 << 30), gpus: 0 };

#[test]
fn a_file_sets_what_a_stage_occupies() {
    let dir = Dir::new(
        "[stage.a]\nuse = \"wait@1\"\ncpus = 2\nmemory = \"3 GiB\"\ngpus = 0\ntime = \"1h 30m\"\n[stage.b]\nuse = \"wait@2\"\non-device = true\n[profile.large.stage.b]\ngpus = 4\n",
    );
    let needs = |profile: Option<&str>| -> Vec<Needs> {
        dir.resolve(profile, &[]).unwrap().instances.iter().map(|i| i.needs).collect()
    };
    let a = Needs { cpus: 2, memory: 3 << 30, gpus: 0, time: Some(5400) };
    assert_eq!(needs(None), [a, Needs::DEVICE]);
    assert_eq!(needs(Some("large"))[1], Needs { gpus: 4, ..Needs::DEVICE });
    assert_eq!(dir.resolve(None, &["stage.a.cpus=1"]).unwrap().instances[0].needs, Needs { cpus: 1, ..a });
}

#[test]
fn amounts_that_are_none_are_told_with_their_place() {
    let dir = Dir::new(
        "[stage.a]\nuse = \"wait@1\"\ncpus = 0\nmemory = 8\ngpus = \"all\"\ntime = \"soon\"\n[stage.b]\nuse = \"wait@1\"\nmemory = \"8 potatoes\"\n",
    );
    let problems = dir.resolve(None, &[]).err().unwrap();
    let messages: Vec<&str> = problems.0.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`cpus` must be a whole number, 1 or more, found the number 0",
            "`memory` must be a size with its unit, found the number 8",
            "`gpus` must be a whole number, 0 or more, found the string \"all\"",
            "`time` must be a duration with its units, found the string \"soon\"",
            "`memory` must be a size with its unit, found the string \"8 potatoes\"",
        ]
    );
}

#[test]
fn an_amount_is_no_part_of_a_result() {
    let dir = Dir::new("[stage.a]\nuse = \"write@x\"\n");
    dir.run();
    dir.write("p.toml", "[stage.a]\nuse = \"write@x\"\ncpus = 3\nmemory = \"1 MB\"\ntime = \"2h\"\n");
    assert_eq!(dir.run().summary(), ["hit a"]);
}

#[test]
fn stages_run_together_only_if_all_amounts_fit() {
    let stages = |amounts: &str| -> String {
        (0..4).map(|i| format!("[stage.s{i}]\nuse = \"wait@4\"\ntag = \"{i}\"\n{amounts}\n")).collect()
    };
    for (amounts, together) in [("", 4), ("cpus = 2", 2), ("cpus = 3", 1), ("memory = \"4 GiB\"", 2), ("gpus = 1", 4)] {
        assert_eq!(most(&run_on(&Dir::new(&stages(amounts)), MACHINE)), together, "{amounts}");
    }
    let gpus = Machine { gpus: 3, ..MACHINE };
    assert_eq!(most(&run_on(&Dir::new(&stages("on-device = true")), gpus)), 3);
    assert_eq!(most(&run_on(&Dir::new(&stages("on-device = true\ngpus = 2")), gpus)), 1);
    assert_eq!(most(&run_on(&Dir::new(&stages("on-device = true\ncpus = 4")), gpus)), 1);
}

#[test]
fn a_large_stage_is_not_overtaken_for_ever() {
    // The large stage is the longest; the small ones become ready one after the other.
    let mut file = String::from("[stage.large]\nuse = \"wait@2\"\ntag = \"large\"\ncpus = 2\ntime = \"1d\"\n");
    file += "[stage.first]\nuse = \"wait@20\"\ntag = \"first\"\ntime = \"2d\"\n";
    file += &(0..6).map(|i| format!("[stage.small{i}]\nuse = \"wait@4\"\ntag = \"{i}\"\n")).collect::<String>();
    let ran = run_on(&Dir::new(&file), Machine { cpus: 2, ..MACHINE });
    let started: Vec<&str> = ran
        .events
        .iter()
        .filter_map(|e| if let Event::StageStarted { stage, .. } = e { Some(stage.as_str()) } else { None })
        .collect();
    assert_eq!(started[..2], ["first", "large"], "{started:?}");
}

#[test]
fn what_the_machine_does_not_have_is_told_before_the_first_stage() {
    let dir = Dir::new(
        "[stage.a]\nuse = \"write@x\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\ncpus = 5\nmemory = \"9 GiB\"\n[stage.c]\nuse = \"wait@1\"\non-device = true\ngpus = 2\n",
    );
    assert_eq!(
        too_large(&dir, Machine { gpus: 1, ..MACHINE }),
        [
            ("stage `b` needs 5 cpus, but this run has 4".to_string(), "5".to_string()),
            ("stage `b` needs 9 GiB of memory, but this machine has 8.0 GiB".into(), "\"9 GiB\"".into()),
            ("stage `c` needs 2 GPUs, but this run has 1".into(), "2".into()),
        ]
    );
    // On the CPU nothing takes a GPU, and a result in the cache takes nothing.
    let large = Machine { cpus: 8, memory: Some(16 << 30), gpus: 0 };
    assert_eq!(too_large(&dir, large), []);
    // A run that goes on anyway fails that stage alone, and does not hang.
    let failed = run_on(&dir, MACHINE).sorted();
    assert_eq!(
        failed,
        [
            "fail b: it needs 5 cpus, but this run has 4 and 9 GiB of memory, but this machine has 8.0 GiB",
            "run a",
            "run c"
        ]
    );
    run_on(&dir, large);
    assert_eq!(too_large(&dir, MACHINE), []);
}
