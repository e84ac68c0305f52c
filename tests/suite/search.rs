//! `search`: trials of other stages, with the real program.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::crash::{Dice, crashes};
use crate::project::{Project, ROWS};

/// The stages before a search, after the corpus and the tokens of other tests.
const STAGES: &str = r#"[stage.teacher]
use = "train"
in.tokens = "tokens"
base = "tiny"
epochs = 4
batch-size = 8
learning-rate = 1e-3
[stage.scores]
use = "evaluate"
in.model = "teacher"
in.tokens = "tokens"
split = "validation"
speed-seconds = 0
"#;

const SEARCH: &str = r#"
[stage.search]
use = "search@5"
objective = "scores.macro-f1"
over.teacher.learning-rate = { low = 1e-4, high = 1e-2, log = true }
over.teacher.batch-size = [4, 8]
over.teacher.schedule = ["linear", "cosine-with-restarts"]
over.teacher.cycles = { low = 1, high = 2, when.teacher.schedule = "cosine-with-restarts" }
export = "out"
"#;

/// The pipeline without a search, with enough validation rows to tell trials apart.
fn plain() -> String {
    ROWS.replace("validation = 0.2", "validation = 0.3") + STAGES
}

fn project(search: &str) -> Project {
    let p = Project::new();
    p.write("p.toml", &(plain() + search));
    p
}

/// The exported files of the table, by name.
fn tables(p: &Project) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![p.path("out")];
    while let Some(dir) = open.pop() {
        for file in fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = file.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                all.insert(path.strip_prefix(p.path("out")).unwrap().display().to_string(), fs::read(path).unwrap());
            }
        }
    }
    all
}

fn csv(p: &Project) -> Vec<BTreeMap<String, String>> {
    let bytes = tables(p).into_iter().find(|(name, _)| name.ends_with("trials.csv")).unwrap().1;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    reader.deserialize().map(|row| row.unwrap()).collect()
}

fn run(p: &Project, more: &[&str]) -> (i32, String) {
    let (code, _, err) = p.pipe(&[&["run", "p.toml"], more].concat());
    (code, err)
}

/// The plain pipeline with the values of a trial.
fn by_hand(row: &BTreeMap<String, String>) -> String {
    let mut more = format!("schedule = {:?}\n", row["teacher.schedule"]);
    if !row["teacher.cycles"].is_empty() {
        more += &format!("cycles = {}\n", row["teacher.cycles"]);
    }
    plain()
        .replace("learning-rate = 1e-3", &format!("learning-rate = {}", row["teacher.learning-rate"]))
        .replace("batch-size = 8", &format!("batch-size = {}", row["teacher.batch-size"]))
        .replace("epochs = 4\n", &format!("epochs = 4\n{more}"))
}

fn folder(p: &Project, stage: &str) -> PathBuf {
    let (code, out, err) = p.pipe(&["cache", "path", "p.toml", stage]);
    assert_eq!(code, 0, "{err}");
    Path::new(out.lines().next().unwrap()).to_owned()
}

#[test]
fn a_search_finds_the_best_trial_and_shares_the_cache_with_plain_runs() {
    // Many trials get all validation rows right; the loss tells them apart.
    let search = SEARCH.replace("macro-f1", "loss");
    let p = project(&search);
    let (code, err) = run(&p, &[]);
    assert_eq!(code, 0, "{err}");
    assert!(!err.contains("run  teacher[trial=0]"), "trial 0 is the file as it is: {err}");
    let rows = csv(&p);
    assert_eq!(rows.len(), 5);
    assert_eq!((rows[0]["teacher.learning-rate"].as_str(), rows[0]["teacher.batch-size"].as_str()), ("0.001", "8"));
    for row in &rows {
        let rate: f64 = row["teacher.learning-rate"].parse().unwrap();
        assert!((1e-4..=1e-2).contains(&rate), "{row:?}");
        assert_eq!(row["teacher.cycles"].is_empty(), row["teacher.schedule"] == "linear", "{row:?}");
        assert_eq!(row["state"], "complete");
    }
    let value = |row: &BTreeMap<String, String>| row["loss"].parse::<f64>().unwrap();
    let best = rows.iter().enumerate().min_by(|a, b| value(a.1).total_cmp(&value(b.1))).unwrap();
    assert!(err.contains(&format!("best of 5 trials: trial {}, loss {:.4}", best.0, value(best.1))), "{err}");
    // The winner's values, written by hand: nothing runs, and the model is the best one.
    p.write("hand.toml", &by_hand(best.1));
    let (code, _, err) = p.pipe(&["run", "hand.toml"]);
    assert!(code == 0 && err.contains(" 0 run"), "{err}");
    let (_, out, _) = p.pipe(&["cache", "path", "hand.toml", "teacher"]);
    let model = fs::read(Path::new(out.trim()).join("model.safetensors")).unwrap();
    assert!(fs::read(folder(&p, "search.best").join("model.safetensors")).unwrap() == model);
    // More trials: the first ones stay.
    p.write("p.toml", &(plain() + &search.replace("@5", "@7")));
    let (code, err) = run(&p, &[]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(csv(&p)[..5], rows[..]);
    assert!(!err.contains("run  teacher[trial=4]") && err.contains("teacher[trial=6]"), "{err}");
}

#[test]
fn a_search_is_the_same_for_every_number_of_jobs() {
    let mut all = Vec::new();
    for (jobs, parallel) in [("1", 2), ("2", 2), ("4", 2)] {
        let p = project(&format!("{SEARCH}parallel = {parallel}\n"));
        let (code, err) = run(&p, &["--jobs", jobs]);
        assert_eq!(code, 0, "{err}");
        all.push(tables(&p));
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{:?}", all.iter().map(BTreeMap::keys).collect::<Vec<_>>());
}

#[test]
fn rungs_cut_trials_and_the_rest_end_in_the_bits_of_a_whole_training() {
    let p = project(&format!("{SEARCH}rungs = {{ epochs = [1, 2], keep = 0.5 }}\n").replace("@5", "@6"));
    let (code, err) = run(&p, &[]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("resuming from step"), "a rung goes on from the one before: {err}");
    let rows = csv(&p);
    let states = |state: &str| rows.iter().filter(|row| row["state"] == state).count();
    // Brackets of four and two: one and one are left.
    assert_eq!((states("complete"), states("cut")), (2, 4), "{rows:?}");
    let best = folder(&p, "search.best");
    let stop: serde_json::Value = serde_json::from_slice(&fs::read(best.join("training.json")).unwrap()).unwrap();
    assert_eq!(stop["stop"], "finished");
    // The complete trials without rungs give the same bytes.
    let complete: Vec<_> = rows.iter().enumerate().filter(|(_, row)| row["state"] == "complete").collect();
    for (_, row) in complete {
        let q = project("");
        q.write("p.toml", &by_hand(row));
        assert_eq!(run(&q, &[]).0, 0);
        let (_, out, _) = q.pipe(&["metrics", "p.toml", "--json"]);
        let value = row["macro-f1"].parse::<f64>().unwrap();
        assert!(out.contains(&format!("{value}")), "{value}: {out}");
    }
}

#[test]
fn a_killed_search_loses_no_trial_and_ends_in_the_same_bytes() {
    let right = project(SEARCH);
    let begin = Instant::now();
    assert_eq!(run(&right, &[]).0, 0);
    let (whole, right) = (begin.elapsed(), tables(&right));
    let (mut killed, mut dice) = (0, Dice(7));
    while killed < crashes(4) {
        let p = project(SEARCH);
        let mut ended: BTreeMap<String, u32> = BTreeMap::new();
        loop {
            let log = fs::File::create(p.path("log")).unwrap();
            let mut child = p.command(&["run", "p.toml"]).stderr(log).spawn().unwrap();
            std::thread::sleep(whole.mul_f64(dice.roll() / 1.5));
            child.kill().unwrap();
            let was_killed = child.wait().unwrap().signal() == Some(9);
            for line in fs::read_to_string(p.path("log")).unwrap().lines() {
                if let Some(stage) = line.strip_prefix("done ").and_then(|rest| rest.split_whitespace().next()) {
                    *ended.entry(stage.to_owned()).or_default() += 1;
                }
            }
            if !was_killed {
                break;
            }
            killed += 1;
        }
        // What had ended was never computed again. (A kill may come between the commit of a stage and its line.)
        assert!(ended.values().all(|times| *times == 1), "{ended:?}");
        assert!(tables(&p) == right, "after {killed} kills");
    }
    println!("{killed} kills");
}

#[test]
fn a_trial_that_fails_is_a_trial_without_a_value() {
    // An infinite loss at a rate far too high.
    let over = r#"
[stage.search]
use = "search@3"
objective = "teacher.validation"
sampler = "grid"
over.teacher.learning-rate = [1e-3, 1e30, 2e-3]
export = "out"
"#;
    let p = project(over);
    let (code, err) = run(&p, &[]);
    assert_eq!(code, 0, "{err}");
    let rows = csv(&p);
    let failed: Vec<_> = rows.iter().filter(|row| row["state"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{rows:?}");
    assert!(failed[0]["error"].contains("teacher[trial="), "{rows:?}");
    // All fail: so does the search.
    let p = project(&over.replace("[1e-3, 1e30, 2e-3]", "[1e30, 2e30, 3e30]"));
    p.write(
        "p.toml",
        &fs::read_to_string(p.path("p.toml")).unwrap().replace("learning-rate = 1e-3", "learning-rate = 1e30"),
    );
    let (code, err) = run(&p, &["search"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("none of the 3 trials has a value; the first: teacher[trial=0]"), "{err}");
}

#[test]
fn mistakes_are_found_before_anything_runs() {
    let say = |search: &str| {
        let p = project(search);
        let (code, _, err) = p.pipe(&["plan", "p.toml"]);
        assert_eq!(code, 2, "{search}\n{err}");
        err
    };
    let with = |from: &str, to: &str| {
        assert!(SEARCH.contains(from), "{from}");
        say(&SEARCH.replace(from, to))
    };
    for (from, to, says) in [
        ("low = 1e-4, high", "low = 1e-1, high", "over.teacher.learning-rate: `low` (0.1) is above `high` (0.01)"),
        ("low = 1e-4", "low = 0.0", "over.teacher.learning-rate: `log` needs a `low` above 0, not 0"),
        ("over.teacher.batch-size", "over.teacher.batch-siz", "`train` has no parameter `batch-siz`"),
        ("over.teacher.batch-size", "over.techer.batch-size", "unknown stage `techer`"),
        ("[4, 8]", "[4, 0]", "batch-size is 0; at least 1 is needed"),
        ("[4, 8]", "[4, 4]", "over.teacher.batch-size: 4 is listed twice (value 2)"),
        ("scores.macro-f1", "scores.macro-f2", "`scores` gives no `macro-f2`"),
        ("scores.macro-f1", "score.macro-f1", "unknown stage `score`"),
        ("scores.macro-f1", "macro-f1", "`macro-f1`: the objective is a stage and a figure of its result"),
        ("@5", "@0", "trials is 0; it must be from 1 to 10000"),
        ("export", "parallel = 6\nexport", "parallel is 6, more than the 5 trials"),
        (
            "export",
            "rungs = { epochs = [2, 1] }\nexport",
            "the epochs of `rungs` must grow from at least 1, not [2, 1]",
        ),
        (
            "export",
            "rungs = { epochs = [1, 4] }\nexport",
            "until is 4 of 4 epochs; it must be at least 1 and below epochs",
        ),
        ("export", "budget = \"soon\"\nexport", "`soon` is not a time"),
        (
            "when.teacher.schedule",
            "when.teacher.patience",
            "`when` names `teacher.patience`, which the search does not vary",
        ),
        (
            "\"cosine-with-restarts\" }",
            "\"cosine\" }",
            "`when` asks for \"cosine\", which is not a value of `teacher.schedule`",
        ),
    ] {
        let err = with(from, to);
        assert!(err.contains(says), "{says}\n{err}");
        assert!(err.contains("p.toml:"), "{err}");
    }
    let few =
        say("[stage.search]\nuse = \"search@5\"\nobjective = \"scores.loss\"\nover.teacher.batch-size = [4, 8]\n");
    assert!(few.contains("`over` has only 2 combinations, fewer than the 5 trials"), "{few}");
    let p = project(SEARCH);
    p.write("p.toml", &fs::read_to_string(p.path("p.toml")).unwrap().replace("split = \"validation\"\n", ""));
    let (code, _, err) = p.pipe(&["plan", "p.toml"]);
    assert!(code == 2 && err.contains("the objective scores test rows: `scores` must score validation rows"), "{err}");
}
