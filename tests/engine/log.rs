//! The log of a run: what it holds, who can read it, and what it costs.

use std::borrow::Cow;
use std::fs;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use pipe_engine::contract::context::Context;
use pipe_engine::contract::event::{Event, Observer, Quiet, Tee};
use pipe_engine::contract::kind::{Kind, Port, Stage};
use pipe_engine::contract::measured::{Kept, Measured};
use pipe_engine::contract::progress::Progress;
use pipe_engine::contract::run_id::RunId;
use pipe_engine::contract::wire::Record;
use pipe_engine::declare::resolve::resolve;
use pipe_engine::judge::project::{Project, read_source};
use pipe_engine::run::executor::Threads;
use pipe_engine::run::follow::{follow, runs};
use pipe_engine::run::log::{Mask, RunLog};
use pipe_engine::run::schedule::{RunOptions, run};
use pipe_engine::store::cache::Cache;
use pipe_engine::store::collect::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::toys::{Dir, KINDS, Log, TEXT, eventually};

const PIPELINE: &str = r#"
name = "small"
[stage.a]
use = "write@hello"
[stage.b]
use = "learn@2"
in.text = "a"
export = "out/b"
[stage.c]
use = "join"
in.texts = ["a", "b"]
[stage.broken]
use = "fail@error"
[stage.below]
use = "shout@2"
in.text = "broken"
"#;

static ALL: LazyLock<Vec<Kind>> = LazyLock::new(|| [KINDS, &[Kind::of::<Learn>()]].concat());

const PLAIN: Mask = |text| Cow::Borrowed(text);

/// Reports as a training does, with the same figures each time.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Learn {
    epochs: u32,
}

impl Stage for Learn {
    const KIND: &'static str = "learn";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("epochs");
    const INPUTS: &'static [Port] = &[Port::one("text", TEXT)];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        cx.note("5 parameters are trained");
        cx.warn("the head starts from random values");
        for epoch in 1..=self.epochs {
            let (step, total) = (10 * u64::from(epoch), 10 * u64::from(self.epochs));
            cx.progress(Progress {
                done: step,
                total,
                unit: "step".into(),
                epoch: Some((epoch, self.epochs)),
                loss: Some(0.5),
                learning_rate: Some(3e-4),
                rate: Some(f64::NAN),
                padding: Some(0.25),
            });
            let f1 = 0.5 + 0.125 * f64::from(epoch);
            let values = [("loss", 0.5), ("validation-loss", 0.75), ("macro-f1", f1), ("macro-auc", f64::INFINITY)];
            cx.measured(Measured {
                step,
                total,
                epoch: Some(epoch.into()),
                epochs: Some(self.epochs),
                values: values.map(|(name, value)| (name.into(), value)).into(),
                metric: Some("macro-f1".into()),
                best: true,
                kept: Some(Kept { step, epoch: epoch.into(), value: f1 }),
                patience: Some(3),
                ..Measured::default()
            });
        }
        cx.fact("validation", 0.75);
        Ok(fs::write(cx.output("text")?.join("text"), "learned")?)
    }
}

/// Run the pipeline with a log, one stage at a time; the id, and what the run told its reporter.
fn run_logged(dir: &Dir, stop: &AtomicBool) -> (RunId, Vec<Event>) {
    let source = read_source(&dir.path("p.toml")).unwrap();
    let pipeline = resolve(&source, None, &[], &ALL).unwrap_or_else(|e| panic!("{:#?}", e.0));
    let project = Project::open(dir.temp.path(), None).unwrap();
    let prepared = project.prepare(&pipeline, &[], &[], &[]).unwrap_or_else(|e| panic!("{:#?}", e.0));
    let (id, log) = (RunId::now(), Log::default());
    let file = RunLog::new(&project.cache, &id, PLAIN, &log);
    let options = RunOptions {
        id: &id,
        jobs: 1,
        keep_going: true,
        device: "cpu",
        gpus: 0,
        memory: None,
        plan: None,
        executor: &Threads,
    };
    run(&prepared.job(), &options, &Tee(&[&log, &file]), stop).unwrap();
    drop(file);
    (id, log.events.into_inner().unwrap())
}

fn logged(dir: &Dir) -> (RunId, Vec<Event>) {
    run_logged(dir, &AtomicBool::new(false))
}

fn cache(dir: &Dir) -> Cache {
    Cache::open(&dir.path("cache")).unwrap()
}

/// All that the log of a run holds, without waiting.
fn read(dir: &Dir, id: &RunId) -> Vec<Record> {
    follow(&cache(dir), id).unwrap().read().unwrap()
}

/// The text with everything replaced that differs between two runs: ids, times, durations and fingerprints.
fn masked(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        mask(&mut value);
        // As written: the order of the fields is that of the line, which `Value` does not keep.
        let mut masked = line.to_string();
        for (key, with) in [("run", "RUN"), ("id", "RUN"), ("fingerprint", "FINGERPRINT")] {
            masked = replaced(&masked, &format!("\"{key}\":\""), "\"", with);
        }
        for key in ["at", "seconds"] {
            masked = replaced(&masked, &format!("\"{key}\":"), ",}", "0.0");
        }
        assert_eq!(serde_json::from_str::<serde_json::Value>(&masked).unwrap(), value, "{line}");
        out += &(masked + "\n");
    }
    out
}

/// Replace the text between `start` and the first of the characters in `end`.
fn replaced(line: &str, start: &str, end: &str, with: &str) -> String {
    let Some(from) = line.find(start).map(|at| at + start.len()) else { return line.into() };
    let to = line[from..].find(|c| end.contains(c)).map_or(line.len(), |at| from + at);
    format!("{}{with}{}", &line[..from], &line[to..])
}

fn mask(value: &mut serde_json::Value) {
    let Some(fields) = value.as_object_mut() else { return };
    for (key, field) in fields {
        match key.as_str() {
            "run" | "id" => *field = "RUN".into(),
            "fingerprint" => *field = "FINGERPRINT".into(),
            "at" | "seconds" => *field = 0.0.into(),
            _ => mask(field),
        }
    }
}

/// The format of `--json` and of logs is a promise: if this file changes, `docs/events.md` has to change, and `v` if a field
/// has changed its meaning or is gone. Write it again with `UPDATE=1 cargo test -p pipe-engine`.
#[test]
fn the_log_of_a_run_is_the_golden_file() {
    let dir = Dir::new("[stage.a]\nuse = \"write@hello\"\n");
    logged(&dir);
    dir.write("p.toml", PIPELINE);
    let (id, _) = logged(&dir);
    let text = masked(&dir.read(&format!("cache/runs/{id}.jsonl")));
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/events.jsonl");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(golden, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(golden).unwrap());
}

#[test]
fn it_holds_every_event_of_the_run_in_order() {
    let dir = Dir::new(PIPELINE);
    let (id, told) = logged(&dir);
    let records = read(&dir, &id);
    // Progress is written once a second.
    let (mut throttled, mut seen) = (told.clone(), 0);
    throttled.retain(|e| !matches!(e, Event::Progress { .. }) || std::mem::replace(&mut seen, 1) == 0 || is_last(e));
    assert_eq!(records.iter().map(|r| r.event.clone()).collect::<Vec<_>>(), throttled);
    assert!(records.iter().all(|r| r.run == id && r.v == 1) && records.is_sorted_by_key(|r| r.at));
    let Event::RunStarted { id: told, stages, .. } = &records[0].event else { panic!("{:?}", records[0]) };
    assert_eq!(*told, id);
    let inputs: Vec<String> = stages.iter().map(|s| format!("{} {:?}", s.name, s.inputs)).collect();
    assert_eq!(
        inputs,
        ["a {}", r#"b {"text": ["a"]}"#, r#"c {"texts": ["a", "b"]}"#, "broken {}", r#"below {"text": ["broken"]}"#]
    );
    assert_eq!(runs(&cache(&dir)).unwrap(), [id]);
}

fn is_last(event: &Event) -> bool {
    matches!(event, Event::Progress { progress, .. } if progress.done == progress.total)
}

#[test]
fn a_run_of_hits_writes_no_log() {
    let dir = Dir::new("[stage.a]\nuse = \"write@hello\"\nexport = \"out\"\n");
    let (first, _) = logged(&dir);
    logged(&dir);
    assert_eq!(runs(&cache(&dir)).unwrap(), [first]);
    // An export is something that happened.
    fs::remove_dir_all(dir.path("out")).unwrap();
    let (third, told) = logged(&dir);
    assert_eq!(runs(&cache(&dir)).unwrap()[0], third);
    assert_eq!(read(&dir, &third).len(), told.len());
}

#[test]
fn another_thread_follows_a_run_to_its_end() {
    let dir = Dir::new("[stage.a]\nuse = \"wait@60\"\n");
    let ids = || runs(&cache(&dir)).unwrap();
    let (told, followed) = std::thread::scope(|scope| {
        let run = scope.spawn(|| logged(&dir).1);
        eventually(|| !ids().is_empty());
        let mut reader = follow(&cache(&dir), &ids()[0]).unwrap();
        eventually(|| !reader_is_empty(&dir, &ids()[0]));
        let first = reader.next().unwrap();
        assert!(!reader.is_over() && !run.is_finished(), "the run was over before its first event was read");
        let followed: Vec<Event> = std::iter::once(first).chain(reader).map(|r| r.event).collect();
        (run.join().unwrap(), followed)
    });
    assert_eq!(followed, told);
}

fn reader_is_empty(dir: &Dir, id: &RunId) -> bool {
    read(dir, id).is_empty()
}

#[test]
fn what_a_killed_run_leaves_is_read_up_to_the_torn_line() {
    let dir = Dir::new(PIPELINE);
    let (id, told) = logged(&dir);
    let path = dir.path(&format!("cache/runs/{id}.jsonl"));
    let text = fs::read_to_string(&path).unwrap();
    let whole = text.lines().count();
    for cut in [1, 30, text.lines().last().unwrap().len()] {
        fs::write(&path, &text[..text.len() - cut]).unwrap();
        let mut reader = follow(&cache(&dir), &id).unwrap();
        assert_eq!(reader.by_ref().count(), whole - 1, "it ends although the last event is missing");
        assert!(reader.is_over());
    }
    // Lines of another program between whole ones are skipped.
    fs::write(&path, text.replacen('\n', "\nnonsense\n{\"v\":1}\n\u{0}\n", 1)).unwrap();
    assert_eq!(follow(&cache(&dir), &id).unwrap().count(), whole);
    assert!(matches!(told.last(), Some(Event::RunFinished { .. })));
}

#[test]
fn a_log_that_cannot_be_written_costs_one_warning() {
    let dir = Dir::new(PIPELINE);
    dir.write("cache/runs", "in the way");
    let (_, told) = logged(&dir);
    let warnings: Vec<&String> = told
        .iter()
        .filter_map(|e| match e {
            Event::Warning { stage: None, text } => Some(text),
            _ => None,
        })
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("cannot write the log of this run: cannot create ")
            && warnings[0].contains("cache/runs"),
        "{}",
        warnings[0]
    );
    let done = told.iter().filter(|e| matches!(e, Event::StageDone { .. })).count();
    assert_eq!(done, 3, "the run is as without the log");
}

#[test]
fn nothing_is_written_through_a_link() {
    let (dir, elsewhere) = (Dir::new(PIPELINE), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(elsewhere.path(), dir.path("cache/runs")).unwrap();
    logged(&dir);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

fn progress(done: u64) -> Event {
    Event::Progress {
        stage: "a".into(),
        progress: Progress { done, total: 1000, unit: "step".into(), ..Progress::default() },
    }
}

#[test]
fn progress_is_thinned_out() {
    let (dir, id) = (Dir::new(""), RunId::now());
    let cache = cache(&dir);
    let log = RunLog::new(&cache, &id, PLAIN, &Quiet);
    (0..=1000).for_each(|done| log.event(&progress(done)));
    let records = read(&dir, &id);
    assert!((2..10).contains(&records.len()), "{}", records.len());
    assert_eq!(records.last().unwrap().event, progress(1000), "the end is always there");
}

#[test]
fn a_huge_log_ends_with_the_states_of_stages() {
    let (dir, id) = (Dir::new(""), RunId::now());
    let cache = cache(&dir);
    let log = RunLog::new(&cache, &id, PLAIN, &Quiet);
    for _ in 0..70 {
        log.event(&Event::Note { stage: "a".into(), text: "x".repeat(1 << 20) });
    }
    log.event(&Event::StageInterrupted { stage: "a".into() });
    let records = read(&dir, &id);
    assert!(fs::metadata(dir.path(&format!("cache/runs/{id}.jsonl"))).unwrap().len() < 40 << 20);
    assert!(
        records.iter().any(
            |r| matches!(&r.event, Event::Warning { text, .. } if text.starts_with("the log of this run is full"))
        )
    );
    assert_eq!(records.last().unwrap().event, Event::StageInterrupted { stage: "a".into() });
}

#[test]
fn old_logs_give_way_to_new_ones_but_not_those_of_running_runs() {
    let (dir, oldest) = (Dir::new(""), "20200101-000000.000-00000000");
    let cache = cache(&dir);
    let oldest = RunId::parse(oldest).unwrap();
    let running = RunLog::new(&cache, &oldest, PLAIN, &Quiet);
    running.event(&progress(1));
    for n in 1..300 {
        dir.write(&format!("cache/runs/20210101-000000.{n:03}-00000000.jsonl"), "{}\n");
    }
    let id = RunId::now();
    RunLog::new(&cache, &id, PLAIN, &Quiet).event(&progress(1));
    let left = runs(&cache).unwrap();
    assert_eq!((left.len(), &left[0], left.last().unwrap()), (200, &id, &oldest));
}

#[test]
fn a_collection_removes_the_logs_of_ended_runs() {
    let dir = Dir::new(PIPELINE);
    let (id, _) = logged(&dir);
    let (cache, now) = (cache(&dir), RunId::now());
    let running = RunLog::new(&cache, &now, PLAIN, &Quiet);
    running.event(&progress(1));
    assert!(cache.collectable().unwrap().contains(id.as_str()));
    let collect = |mode, keeps: &dyn Fn(&str, u64) -> bool| cache.collect(mode, keeps).unwrap().logs;
    assert_eq!(collect(Mode::Remove, &|_, touched| touched > 1000), 0, "it is young");
    assert_eq!(collect(Mode::DryRun, &|_, _| false), 1);
    assert_eq!(runs(&cache).unwrap(), [now.clone(), id]);
    assert_eq!(collect(Mode::Remove, &|_, _| false), 1);
    assert_eq!(runs(&cache).unwrap(), std::slice::from_ref(&now));
    running.event(&Event::StageInterrupted { stage: "a".into() });
    assert_eq!(read(&dir, &now).len(), 2, "it is written on");
    drop(running);
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(collect(Mode::Remove, &|_, _| false), 1);
}
