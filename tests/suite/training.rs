//! Training through the binary: kills, damage, failures, and its messages and files.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use pipe_engine::contract::event::Event;
use pipe_engine::contract::wire::Record;
use pipe_engine::run::follow::{follow, runs};
use pipe_engine::store::cache::Cache;

use super::project::{PIPELINE, Project};

/// A project whose teacher has dropout, and these parameters instead of two epochs.
fn project(teacher: &str) -> Project {
    let p = Project::new();
    p.write("p.toml", &PIPELINE.replacen("epochs = 2\n", teacher, 1));
    let config = fs::read_to_string(p.path("tiny/config.json")).unwrap();
    p.write("tiny/config.json", &config.replace("_dropout_prob\": 0.0", "_dropout_prob\": 0.1"));
    p
}

/// All parameters whose state a resumed fit has to restore; 160 steps.
const MUCH: &str = r#"epochs = 40
batch-size = 16
accumulation = 2
eval-steps = 7
schedule = "cosine-with-restarts"
cycles = 3
warmup-ratio = 0.1
betas = [0.85, 0.99]
label-smoothing = 0.1
class-weights = "balanced"
finetune-layers = 1
metric = "loss"
checkpoint-minutes = 0
"#;

pub fn start(p: &Project, stage: &str) -> Child {
    p.command(&["run", "p.toml", stage]).stderr(Stdio::null()).spawn().unwrap()
}

/// The folder of the checkpoints, once it exists.
fn work(p: &Project) -> Option<PathBuf> {
    let mut all = fs::read_dir(p.path("cache/partial")).ok()?.flatten().map(|e| e.path().join("work"));
    all.find(|work| work.is_dir())
}

/// The step of a checkpoint, from its head.
fn step(checkpoint: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(checkpoint.get(..400)?);
    let (_, rest) = text.split_once("\"step\":")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Kill the run once its newest checkpoint is of at least this step. Returns the step; None if the run ended before.
pub fn kill_at(p: &Project, mut child: Child, wanted: u64) -> Option<u64> {
    let begin = Instant::now();
    loop {
        let newest = work(p).and_then(|work| step(&fs::read(work.join("fit.checkpoint")).ok()?));
        if let Some(step) = newest.filter(|step| *step >= wanted) {
            child.kill().unwrap();
            child.wait().unwrap();
            return Some(step);
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return None;
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "no checkpoint of step {wanted}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The standard error of a run that succeeds.
fn said(p: &Project) -> String {
    let (code, _, err) = p.pipe(&["run", "p.toml", "teacher"]);
    assert_eq!(code, 0, "{err}");
    err
}

#[test]
fn killed_at_random_steps_training_ends_in_the_same_bits() {
    let undisturbed = project(MUCH);
    undisturbed.run(&["teacher"]);
    let p = project(MUCH);
    let (mut kills, mut at) = (Vec::new(), 0);
    for round in 0u8..8 {
        // Repeatable random numbers: 1 to 40 steps further.
        at += 1 + u64::from(blake3::hash(&[round]).as_bytes()[0]) % 40;
        let Some(step) = kill_at(&p, start(&p, "teacher"), at) else { break };
        kills.push(step);
        at = step;
    }
    assert!(kills.len() >= 3, "killed after steps {kills:?} only");
    println!("killed after steps {kills:?}");
    said(&p);
    assert_eq!(p.digest("teacher"), undisturbed.digest("teacher"));
    assert_eq!(p.run(&["teacher"]), [""; 0]);
    assert_eq!(fs::read_dir(p.path("cache/partial")).unwrap().count(), 0, "nothing is left over");
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    let undisturbed = project(MUCH);
    undisturbed.run(&["teacher"]);
    let p = project(MUCH);
    kill_at(&p, start(&p, "teacher"), 20).expect("it was over before step 20");
    let work = work(&p).unwrap();
    let path = work.join("fit.checkpoint");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let before = step(&fs::read(work.join("fit.checkpoint.before")).unwrap()).unwrap();
    let said = said(&p);
    assert!(said.contains("fit.checkpoint: the file is damaged (its checksum differs)"), "{said}");
    assert!(said.contains(&format!("resuming from step {before} of 160")), "{said}");
    assert_eq!(p.digest("teacher"), undisturbed.digest("teacher"));
}

#[test]
fn a_loss_that_is_no_number_says_where_and_what_is_kept() {
    let p = project("epochs = 2\nclip = 0\nwarmup-steps = 1\n");
    let (code, _, err) = p.pipe(&["run", "p.toml", "teacher", "--set", "stage.teacher.learning-rate=1e30"]);
    assert_eq!(code, 1, "{err}");
    for words in ["at step ", " of 16 (epoch ", "learning rate ", "rows train:", "the checkpoint of step ", "a rerun"] {
        assert!(err.contains(words), "`{words}` is not in\n{err}");
    }
    // A rerun continues from the checkpoint and fails again.
    let (_, _, again) = p.pipe(&["run", "p.toml", "teacher", "--set", "stage.teacher.learning-rate=1e30"]);
    assert!(again.contains("resuming from step ") && again.contains("the checkpoint of step "), "{again}");
    // Other parameters are another result.
    assert!(!said(&p).contains("resuming from"));
}

/// A billionth of the memory is never enough for a step, and all of it always is.
#[test]
fn a_step_that_takes_more_than_its_share_of_memory_is_halved_once_and_then_an_error() {
    let p = project("epochs = 1\n");
    let (code, _, err) = p.pipe(&["run", "p.toml", "teacher", "--set", "stage.teacher.memory-fraction=1e-9"]);
    assert_eq!(code, 1, "{err}");
    let [first, second] = [
        "  a batch needs more memory than memory-fraction allows; from now on, each batch is split into two halves",
        "even half a batch needs more memory than memory-fraction allows; lower batch-size",
    ]
    .map(|words| err.find(words));
    assert!(first.is_some() && first < second, "{err}");
    assert!(err.contains(" bytes were in use, but memory-fraction allows "), "{err}");
    // Where nothing is halved the result is the same, and so is the fingerprint.
    p.run(&["teacher", "--set", "stage.teacher.memory-fraction=1"]);
    let (_, _, again) = p.pipe(&["run", "p.toml", "teacher"]);
    assert!(again.contains("done: 3 cached, 0 run"), "{again}");
}

#[test]
fn json_and_the_log_have_each_evaluation_in_numbers() {
    let p = project("epochs = 2\nbatch-size = 32\npatience = 5\n");
    let (code, out, err) = p.pipe(&["run", "p.toml", "teacher", "--json"]);
    assert_eq!(code, 0, "{err}");
    let parse = |line: &str| Record::parse(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
    let records: Vec<Record> = out.lines().map(parse).collect();
    let measured: Vec<_> = records
        .iter()
        .filter_map(|r| match &r.event {
            Event::Measured { stage, measured } if stage == "teacher" => Some(measured),
            _ => None,
        })
        .collect();
    assert_eq!(measured.len(), 2, "{out}");
    for (at, measured) in measured.iter().enumerate() {
        assert_eq!((measured.epoch, measured.epochs, measured.patience), (Some(at as f64 + 1.0), Some(2), Some(5)));
        for name in ["loss", "validation-loss", "accuracy", "macro-f1", "macro-auc", "f1[happy]", "recall[cross]"] {
            assert!(measured.values.contains_key(name), "{name} in {:?}", measured.values);
        }
        let kept = measured.kept.unwrap();
        assert!(!measured.best || kept.value == measured.values["macro-f1"], "{measured:?}");
    }
    assert!(measured[0].best && measured[1].step == measured[1].total, "{measured:?}");

    // The log has the same events, and the history the id of the run.
    let cache = Cache::open(&p.path("cache")).unwrap();
    let id = runs(&cache).unwrap().remove(0);
    assert!(records.iter().all(|r| r.run == id), "{out}");
    let kept = |records: Vec<Record>| -> Vec<Event> {
        records.into_iter().map(|r| r.event).filter(|e| !matches!(e, Event::Progress { .. })).collect()
    };
    assert_eq!(kept(follow(&cache, &id).unwrap().collect()), kept(records));
    let (_, history, _) = p.pipe(&["history"]);
    assert!(history.contains(id.as_str()), "{history}");
}

#[test]
fn training_tells_each_evaluation_and_leaves_its_curve() {
    let teacher = "epochs = 2\nbatch-size = 32\neval-steps = 3\npatience = 5\n";
    let p = project(teacher);
    let said = said(&p);
    let evaluations: Vec<&str> = said.lines().filter(|line| line.contains("validation loss")).collect();
    assert_eq!(evaluations.len(), 3, "{said}"); // Four steps an epoch: after 3, 6 and 8.
    assert!(
        evaluations[0].starts_with("note teacher") && evaluations[0].contains("step 3  epoch 0.75/2  loss "),
        "{said}"
    );
    assert!(said.contains("% of all positions were padding"), "{said}");

    // The loss curve is part of the model artifact and always the same.
    let other = project(teacher);
    other.run(&["teacher"]);
    assert_eq!(p.digest("teacher"), other.digest("teacher"));
    let names: Vec<String> = p.digest("teacher").into_iter().map(|(name, _)| name).collect();
    assert!(
        names.contains(&"training.parquet".to_string()) && names.contains(&"training.json".to_string()),
        "{names:?}"
    );

    // The curve of speed and memory is not part of it.
    let (_, shown, _) = p.pipe(&["show", "p.toml", "teacher"]);
    assert!(shown.contains("samples-per-second, peak-memory-bytes at 8 points; --curve prints them"), "{shown}");
    let (code, csv, err) = p.pipe(&["show", "p.toml", "teacher", "--curve"]);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0], lines.len()), ("stage,step,samples-per-second,peak-memory-bytes", 9));
    for (step, line) in (1..).zip(&lines[1..]) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells[..2], ["teacher", &step.to_string()]);
        assert!(cells[2].parse::<f64>().unwrap() > 0.0, "{line}");
    }
    let (code, _, err) = p.pipe(&["show", "p.toml", "student", "--curve"]);
    assert_eq!((code, err.as_str()), (2, "error: student has no result yet\n"));
}

#[test]
fn the_last_layers_alone_are_trained_where_that_is_asked_for() {
    let p = project("epochs = 1\nfinetune-layers = 1\n");
    let all = said(&p);
    assert!(all.contains(" parameters are trained"), "{all}");
    // The bundled model has no weights, so frozen tensors stay random.
    assert!(all.contains("frozen tensors have random values and will keep them"), "{all}");
    let (code, _, err) = p.pipe(&["run", "p.toml", "teacher", "--set", "stage.teacher.finetune-layers=3"]);
    assert_eq!(code, 1);
    assert!(err.contains("finetune-layers is 3, but the model has 2 encoder layers; give 0 to 2"), "{err}");
    let (code, _, err) = p.pipe(&["run", "p.toml", "student", "--set", "stage.student.finetune-layers=0"]);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn numbers_that_make_no_sense_are_refused_before_anything_runs() {
    for (set, said) in [
        ("betas=[0.9, 1.0]", "β₂ is 1; it must be at least 0 and below 1"),
        ("betas=[0.9]", "betas"),
        ("epsilon=0", "epsilon is 0; it must be above 0, in 32 bits too"),
        ("eval-steps=0", "eval-steps is 0; at least 1 is needed"),
        ("finetune-layers=-1", "finetune-layers"),
        ("metric=\"f1\"", "macro-f1"),
        ("warmup-ratio=1.5", "warmup-ratio is 1.5; it must be from 0 to 1"),
        ("memory-fraction=0", "memory-fraction is 0; it must be above 0 and at most 1"),
        ("checkpoint-minutes=1e300", "it must be from 0 to 525600 (a year)"),
    ] {
        let p = Project::new();
        let (code, _, err) = p.pipe(&["run", "p.toml", "--set", &format!("stage.teacher.{set}")]);
        assert_eq!(code, 2, "{set}: {err}");
        assert!(err.contains(said), "{set}: {err}");
    }
}
