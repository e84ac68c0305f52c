//! `plan --out` and `run --plan` through the binary: only the saved plan runs.

use std::fs;

use super::project::{Project, ROWS};

/// A project with a pipeline of two stages that take milliseconds.
fn small() -> Project {
    let project = Project::new();
    project.write("p.toml", ROWS);
    project
}

#[test]
fn a_saved_plan_runs_from_anywhere_in_the_project() {
    let project = small();
    let (code, out, _) =
        project.pipe(&["plan", "p.toml", "--set", "stage.corpus.validation=0.25", "--out", "plan.json", "tokens"]);
    assert_eq!((code, out.lines().next()), (0, Some("plan small: 2 stages, 0 cached, 2 to run")));
    let (_, json, _) = project.pipe(&["plan", "p.toml", "--set", "stage.corpus.validation=0.25", "tokens", "--json"]);
    assert_eq!(json, fs::read_to_string(project.path("plan.json")).unwrap(), "--json prints what --out writes");
    fs::create_dir(project.path("below")).unwrap();
    let output =
        project.command(&["run", "--plan", "../plan.json"]).current_dir(project.path("below")).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("done: 0 cached, 2 run"), "{stderr}");
    // The override was part of the plan.
    assert_eq!(project.run(&["--set", "stage.corpus.validation=0.25"]), [""; 0]);
}

#[test]
fn a_plan_that_no_longer_holds_is_refused_with_stage_and_line() {
    let project = small();
    let plan = || assert_eq!(project.pipe(&["plan", "p.toml", "--out", "plan.json"]).0, 0);
    let refused = || {
        let (code, _, stderr) = project.pipe(&["run", "--plan", "plan.json"]);
        assert_eq!(code, 1, "{stderr}");
        stderr
    };
    plan();
    let text = fs::read_to_string(project.path("p.toml")).unwrap();
    project.write("p.toml", &text.replace("validation = 0.2", "validation = 0.3"));
    assert_eq!(
        refused(),
        "error: plan.json no longer matches the pipeline:\n  corpus (p.toml:10): validation 0.2 → 0.3\nhelp: make a new plan: `pipe plan p.toml --out plan.json`\n"
    );
    project.write("p.toml", &text);
    project.write("train.csv", &Project::csv(161));
    let stderr = refused();
    assert!(
        stderr.starts_with("error: plan.json no longer matches the pipeline:\n  corpus (p.toml:4): file train.csv "),
        "{stderr}"
    );
    plan();
    project.run(&[]);
    assert_eq!(
        refused(),
        "error: plan.json no longer matches the pipeline:\n  corpus (p.toml:4): planned as a run, now a hit: its result is now in the cache\nhelp: make a new plan: `pipe plan p.toml --out plan.json`\n"
    );
    plan();
    fs::remove_dir_all(project.path("cache/objects")).unwrap();
    let stderr = refused();
    let said = "corpus (p.toml:4): planned as a hit, now a run: an object of its result is missing from the cache\n";
    assert!(stderr.contains(said), "{stderr}");
}

#[test]
fn what_is_no_plan_is_said_so() {
    let project = small();
    let refused = |text: &str| {
        project.write("plan.json", text);
        let (code, _, stderr) = project.pipe(&["run", "--plan", "plan.json"]);
        assert_eq!(code, 2, "{stderr}");
        stderr
    };
    let cases = [
        ("{", "EOF while parsing"),
        ("[]", "it has no version"),
        ("{\"version\": 7}", "it has version 7, expected 1"),
        ("{\"version\": 1}", "missing field `request`"),
    ];
    for (text, said) in cases {
        let stderr = refused(text);
        assert!(stderr.starts_with("error: plan.json is not a plan of this version of pipe: "), "{stderr}");
        assert!(stderr.contains(said) && stderr.contains("help: `pipe plan FILE --out PLAN` writes one"), "{stderr}");
    }
    let (code, _, stderr) = project.pipe(&["run", "--plan", "gone.json"]);
    assert_eq!((code, stderr.starts_with("error: cannot read the plan gone.json: ")), (2, true), "{stderr}");
    let (code, _, stderr) = project.pipe(&["run", "p.toml", "--plan", "plan.json"]);
    assert_eq!((code, stderr.contains("cannot be used with")), (2, true), "{stderr}");
    assert_eq!(project.pipe(&["run"]).0, 2);
    let (code, _, stderr) = project.pipe(&["plan", "p.toml", "--out", "gone/plan.json"]);
    assert_eq!(
        (code, stderr.as_str()),
        (2, "error: cannot write the plan gone/plan.json: the folder gone does not exist\n")
    );
}
