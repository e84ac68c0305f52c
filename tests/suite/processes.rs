//! `pipe run --executor processes` and `pipe stage run` through the binary, with the real kinds.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::project::{PIPELINE, Project, scored, trained};
use super::state::assert_sound;

/// Artifacts that have the same bytes in every run; metrics hold the time that a model took to make.
const ARTIFACTS: [&str; 6] =
    ["corpus", "tokens", "teacher", "int8", "scores[teacher].predictions", "scores[int8].predictions"];

fn pipeline() -> String {
    let int8 = "[stage.int8]\nuse = \"quantize@int8\"\nin.model = \"teacher\"\n";
    [&trained(3), int8, &scored(&["teacher", "int8"])].concat()
}

fn project() -> Project {
    let project = Project::new();
    project.write("p.toml", &pipeline());
    project
}

fn digests(project: &Project) -> Vec<Vec<(String, String)>> {
    ARTIFACTS.iter().map(|artifact| project.digest(artifact)).collect()
}

/// The names of the entries, which are fingerprints. Those of `scores` depend on the model alone, too.
fn entries(project: &Project) -> Vec<String> {
    let all = fs::read_dir(project.path("cache/entries")).unwrap();
    let mut names: Vec<String> = all.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn is_at_work(project: &Project) -> bool {
    let all = fs::read_dir(project.path("cache/partial")).into_iter().flatten().flatten();
    all.into_iter().any(|e| fs::read_dir(e.path().join("work")).is_ok_and(|mut files| files.next().is_some()))
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The ids of processes whose command line names this project.
fn processes_of(project: &Project) -> Vec<String> {
    let root = project.temp.path().display().to_string();
    let all = fs::read_dir("/proc").unwrap().flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    let is_of = |id: &String| {
        let line = fs::read_to_string(Path::new("/proc").join(id).join("cmdline")).unwrap_or_default();
        line.contains("stage") && line.contains(&root)
    };
    all.filter(is_of).collect()
}

#[test]
fn processes_make_the_same_results_as_threads_byte_for_byte() {
    let (threads, processes) = (project(), project());
    let ran = threads.run(&[]);
    assert_eq!(processes.run(&["--executor", "processes", "--jobs", "2"]), ran);
    assert_eq!(digests(&processes), digests(&threads));
    assert_eq!(entries(&processes), entries(&threads));
    assert_sound(processes.temp.path());
    for executor in ["processes", "threads"] {
        assert_eq!(processes.run(&["--executor", executor]), [""; 0], "{executor}");
    }
    // Options reach the processes.
    let ran = processes.run(&["--executor", "processes", "--set", "stage.int8.scheme=\"fp16\"", "scores"]);
    assert_eq!(ran, ["int8", "scores[int8]"]);
}

#[test]
fn a_run_that_is_killed_takes_its_process_along_and_the_next_one_continues() {
    let right = project();
    right.run(&["teacher"]);
    let cut = project();
    let words = ["run", "p.toml", "teacher", "--executor", "processes"];
    let mut run = cut.command(&words).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the first checkpoint", || is_at_work(&cut) || run_has_ended(&cut));
    run.kill().unwrap();
    run.wait().unwrap();
    wait_for("the end of the process", || processes_of(&cut).is_empty());
    assert_sound(cut.temp.path());
    cut.run(&["teacher", "--executor", "processes"]);
    assert_eq!(cut.digest("teacher"), right.digest("teacher"));
}

fn run_has_ended(project: &Project) -> bool {
    fs::read_dir(project.path("cache/entries")).is_ok_and(|all| all.count() >= 3)
}

#[test]
fn ctrl_c_reaches_the_process_as_one_request_for_a_checkpoint() {
    let p = Project::new();
    p.write("p.toml", &PIPELINE.replace("epochs = 2\n", "epochs = 4000\n"));
    let words = ["run", "p.toml", "teacher", "--executor", "processes"];
    let run = p.command(&words).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the training", || is_at_work(&p));
    let interrupted = std::process::Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let output = run.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert_eq!(stderr.matches("stopping at the next checkpoint").count(), 1, "{stderr}");
    assert_eq!(processes_of(&p), [""; 0]);
    let plan = p.pipe(&["plan", "p.toml"]).1;
    assert!(plan.contains("continues where it was interrupted"), "{plan}");
}

#[test]
fn one_stage_of_a_plan_runs_alone_once_its_inputs_are_there() {
    let p = project();
    assert_eq!(p.pipe(&["plan", "p.toml", "--out", "plan.json"]).0, 0);
    let (code, _, err) = p.pipe(&["stage", "run", "plan.json", "tokens"]);
    assert_eq!(code, 66, "{err}");
    assert!(
        err.contains("`tokens` needs the result of `corpus`, which is not in the cache; run `corpus` first"),
        "{err}"
    );
    for stage in ["corpus", "tokens", "tokens"] {
        let (code, _, err) = p.pipe(&["stage", "run", "plan.json", stage]);
        assert_eq!(code, 0, "{err}");
    }
    assert_eq!(p.run(&["tokens"]), [""; 0]);
    let (code, out, _) = p.pipe(&["stage", "run", "plan.json", "tokens", "--json"]);
    assert_eq!(code, 0);
    let events: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let names: Vec<&str> = events.iter().filter_map(|e| e["event"].as_str()).collect();
    assert_eq!(names, ["run-started", "stage-hit", "run-finished"]);
    // The plan binds, and bad usage is told apart from a stage that failed.
    p.write("p.toml", &pipeline().replace("tokenize@32", "tokenize@48"));
    let (code, _, err) = p.pipe(&["stage", "run", "plan.json", "tokens"]);
    assert_eq!(code, 1);
    assert!(err.contains("changed since the plan was made: ") && err.contains("32 → 48"), "{err}");
    let (code, _, err) = p.pipe(&["stage", "run", "plan.json", "tokns"]);
    assert_eq!(code, 2);
    assert!(err.contains("has no stage `tokns`") && err.contains("did you mean `tokens`?"), "{err}");
    let (code, _, err) = p.pipe(&["stage", "run", "plan.json", "scores"]);
    assert_eq!((code, err.lines().next()), (2, Some("error: `scores` has several instances")), "{err}");
    let (code, _, err) = p.pipe(&["stage", "run", "none.json", "tokens"]);
    assert_eq!(code, 2);
    assert!(err.starts_with("error: cannot read the plan none.json: "), "{err}");
}
