//! Toy kinds that take microseconds, and a project in a temporary folder to run them in.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use pipe_engine::contract::context::{Context, Interrupted};
use pipe_engine::contract::event::{Event, Observer, Outcome, Tee};
use pipe_engine::contract::kind::{External, Invalid, Kind, Port, Resource, Stage, Type, What};
use pipe_engine::contract::run_id::RunId;
use pipe_engine::declare::resolve::{Pipeline, resolve};
use pipe_engine::judge::plan::{Action, Plan, Planned, Request};
use pipe_engine::judge::project::{Project, read_source};
use pipe_engine::run::executor::Threads;
use pipe_engine::run::log::RunLog;
use pipe_engine::run::schedule::{RunOptions, run};
use pipe_engine::store::disk::Disk;
use pipe_engine::text::diagnostic::Diagnostics;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trouble::{Heap, Odd, Steps};
use super::wide::{Cut, Fussy, Grid, Hunt, Program};

pub const TEXT: Type = Type("text");
const NUMBER: Type = Type("number");

pub const KINDS: &[Kind] = &[
    Kind::of::<Write>(),
    Kind::of::<Shout>(),
    Kind::of::<Join>(),
    Kind::of::<Count>(),
    Kind::of::<Fail>(),
    Kind::of::<Wait>(),
    Kind::of::<Gather>(),
    Kind::of::<Heap>(),
    Kind::of::<Steps>(),
    Kind::of::<Odd>(),
    Kind::of::<Cut>(),
    Kind::of::<Program>(),
    Kind::of::<Grid>(),
    Kind::of::<Fussy>(),
    Kind::of::<Hunt>(),
];

/// Writes a text, or the content of a file.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Write {
    #[serde(default)]
    text: String,
    #[serde(default)]
    path: Option<String>,
    /// Append to the file while it is being read.
    #[serde(default)]
    meddle: bool,
}

impl Stage for Write {
    const KIND: &'static str = "write";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("text");
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];

    fn externals(&self) -> Vec<External> {
        self.path
            .iter()
            .map(|p| External { name: "path".into(), key: "path", path: p.clone(), what: What::File })
            .collect()
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let text = match &self.path {
            Some(_) => {
                let path = cx.external("path")?.to_path_buf();
                let text = std::fs::read_to_string(&path)?;
                if self.meddle {
                    std::fs::write(&path, format!("{text}!"))?;
                }
                text
            }
            None => self.text.clone(),
        };
        put(cx, &text)
    }
}

/// Upper case, `times` over; several lines become one with `first`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Shout {
    #[serde(default = "one")]
    times: u32,
    #[serde(default = "full")]
    volume: f64,
    /// Keep only the first letter.
    #[serde(default)]
    first: bool,
    /// Does not change the result.
    #[serde(default)]
    log_every: u32,
}

fn one() -> u32 {
    1
}

fn full() -> f64 {
    1.0
}

impl Stage for Shout {
    const KIND: &'static str = "shout";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("times");
    const INPUTS: &'static [Port] = &[Port::one("text", TEXT)];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];
    const SEEDED: bool = true;
    const OPERATIONAL: &'static [&'static str] = &["log-every"];

    fn check(&self) -> Vec<Invalid> {
        let range = (!(0.0..=1.0).contains(&self.volume))
            .then(|| Invalid::new("volume", format!("volume is {}, outside 0…1", self.volume)));
        range.into_iter().collect()
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let text = get(&cx.input("text")?.dir)?.to_uppercase();
        let text = if self.first { text.chars().take(1).collect() } else { text };
        cx.fact("letters", text.len() as f64);
        put(cx, &text.repeat(self.times as usize))
    }
}

/// All texts, by label.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Join {}

impl Stage for Join {
    const KIND: &'static str = "join";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::many("texts", TEXT)];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let mut all = String::new();
        for input in cx.inputs("texts") {
            all += &format!("{}={};", input.label, get(&input.dir)?);
        }
        put(cx, &all)
    }
}

/// The number of letters.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Count {}

impl Stage for Count {
    const KIND: &'static str = "count";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("text", TEXT)];
    const OUTPUTS: &'static [Port] = &[Port::one("number", NUMBER)];

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let n = get(&cx.input("text")?.dir)?.len();
        std::fs::write(cx.output("number")?.join("number"), n.to_string())?;
        Ok(())
    }
}

/// Fails, panics, or leaves a link.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fail {
    how: How,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum How {
    Error,
    Panic,
    Link,
}

impl Stage for Fail {
    const KIND: &'static str = "fail";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("how");
    const INPUTS: &'static [Port] = &[Port::optional("text", TEXT)];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        match self.how {
            How::Error => anyhow::bail!("it was told to"),
            How::Panic => panic!("it was told to"),
            How::Link => Ok(std::os::unix::fs::symlink("/etc/passwd", cx.output("text")?.join("text"))?),
        }
    }
}

/// Counts up to `ticks` with a checkpoint at each, until it is stopped; a second attempt continues from the checkpoint.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wait {
    ticks: u64,
    /// Distinguishes stages that would otherwise be the same.
    #[serde(default)]
    tag: String,
    /// Occupies a GPU if there is one.
    #[serde(default)]
    on_device: bool,
}

impl Stage for Wait {
    const KIND: &'static str = "wait";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("ticks");
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];

    fn resource(&self) -> Resource {
        if self.on_device { Resource::Device } else { Resource::Cpu }
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let checkpoint = cx.checkpoints()?.join("tick");
        let from: u64 = std::fs::read_to_string(&checkpoint).ok().and_then(|t| t.parse().ok()).unwrap_or(0);
        cx.note(format!("from tick {from}"));
        for tick in from..self.ticks {
            std::fs::write(&checkpoint, tick.to_string())?;
            if cx.stopped() {
                return Err(Interrupted.into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        put(cx, &format!("{}{}", self.tag, self.ticks))
    }
}

/// The names of a folder's files.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Gather {
    folder: String,
    /// Remove this file first.
    #[serde(default)]
    lose: Option<String>,
}

impl Stage for Gather {
    const KIND: &'static str = "gather";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("folder");
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];

    fn externals(&self) -> Vec<External> {
        vec![External { name: "folder".into(), key: "folder", path: self.folder.clone(), what: What::Folder }]
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let dir = cx.external("folder")?.to_path_buf();
        self.lose.iter().try_for_each(|name| std::fs::remove_file(dir.join(name)))?;
        let mut names: Vec<String> = std::fs::read_dir(dir)?
            .map(|f| Ok(f?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<_>>()?;
        names.sort();
        put(cx, &names.join(" "))
    }
}

fn get(dir: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(dir.join("text")).context("no text")
}

fn put(cx: &mut Context, text: &str) -> anyhow::Result<()> {
    Ok(std::fs::write(cx.output("text")?.join("text"), text)?)
}

/// Collects events.
#[derive(Default)]
pub struct Log {
    pub events: Mutex<Vec<Event>>,
    /// Set at the first note, to stop a run in the middle.
    pub stop_on_note: Option<&'static AtomicBool>,
}

impl Observer for Log {
    fn event(&self, event: &Event) {
        if let (Event::Note { .. }, Some(stop)) = (event, self.stop_on_note) {
            stop.store(true, Ordering::Relaxed);
        }
        self.events.lock().unwrap().push(event.clone());
    }
}

/// A project folder with one pipeline file, `p.toml`.
pub struct Dir {
    pub temp: tempfile::TempDir,
}

pub struct Ran {
    pub outcome: Outcome,
    pub events: Vec<Event>,
}

impl Ran {
    /// `hit a`, `run b`, `fail c: why`, … in the order of events.
    pub fn summary(&self) -> Vec<String> {
        let mut said = Vec::new();
        for event in &self.events {
            said.push(match event {
                Event::StageHit { stage, .. } => format!("hit {stage}"),
                Event::StageDone { stage, .. } => format!("run {stage}"),
                Event::StageFailed { stage, error, .. } => format!("fail {stage}: {error}"),
                Event::StageBlocked { stage, because } => format!("blocked {stage} by {because}"),
                Event::StageInterrupted { stage } => format!("interrupted {stage}"),
                Event::Damaged { stage, .. } => format!("damaged {stage}"),
                _ => continue,
            });
        }
        said
    }

    pub fn sorted(&self) -> Vec<String> {
        let mut all = self.summary();
        all.sort();
        all
    }
}

impl Dir {
    pub fn new(pipeline: &str) -> Self {
        // In memory if possible: these tests do not need a real disk.
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        std::fs::create_dir(temp.path().join("cache")).unwrap();
        let dir = Self { temp };
        dir.write("p.toml", pipeline);
        dir
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.temp.path().join(below)
    }

    pub fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, below: &str) -> String {
        std::fs::read_to_string(self.path(below)).unwrap()
    }

    pub fn resolve(&self, profile: Option<&str>, sets: &[&str]) -> Result<Pipeline, Diagnostics> {
        let source = read_source(&self.path("p.toml"))?;
        let source = pipe_engine::text::diagnostic::Source::new("p.toml", source.text.clone());
        let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
        resolve(&source, profile, &sets, KINDS)
    }

    pub fn open(&self) -> Project {
        Project::open(self.temp.path(), None).unwrap()
    }

    pub fn run(&self) -> Ran {
        self.run_with(&[], &[], true, &AtomicBool::new(false), Log::default())
    }

    pub fn run_with(&self, targets: &[&str], force: &[&str], keep_going: bool, stop: &AtomicBool, log: Log) -> Ran {
        let pipeline = self.resolve(None, &[]).unwrap_or_else(|e| panic!("{:#?}", e.0));
        let owned = |all: &[&str]| all.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        let project = self.open();
        let prepared =
            project.prepare(&pipeline, &owned(targets), &owned(force), &[]).unwrap_or_else(|e| panic!("{:#?}", e.0));
        let options = RunOptions {
            id: &RunId::now(),
            jobs: 4,
            keep_going,
            device: "cpu",
            gpus: 0,
            memory: None,
            plan: None,
            executor: &Threads,
        };
        let outcome = run(&prepared.job(), &options, &log, stop).unwrap();
        Ran { outcome, events: log.events.into_inner().unwrap() }
    }

    /// Run one stage at a time, with a log, on a disk that may fail; the outcome, or the error.
    pub fn run_on(&self, disk: Arc<dyn Disk>, log: &Log) -> Result<Outcome, String> {
        self.run_in(&Project::open_on(self.temp.path(), None, disk).map_err(|e| e.to_string())?, log)
    }

    /// Run one stage at a time in a project that is open; the outcome, or the error.
    pub fn run_in(&self, project: &Project, log: &Log) -> Result<Outcome, String> {
        let pipeline = self.resolve(None, &[]).unwrap_or_else(|e| panic!("{:#?}", e.0));
        let prepared = project.prepare(&pipeline, &[], &[], &[]).unwrap_or_else(|e| panic!("{:#?}", e.0));
        let id = RunId::now();
        let file = RunLog::new(&project.cache, &id, |text| text.into(), log);
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
        run(&prepared.job(), &options, &Tee(&[log, &file]), &AtomicBool::new(false)).map_err(|e| e.to_string())
    }

    pub fn plan(&self) -> Plan {
        self.plan_with(&[])
    }

    pub fn plan_with(&self, force: &[&str]) -> Plan {
        let force: Vec<String> = force.iter().map(|s| s.to_string()).collect();
        let pipeline = self.resolve(None, &[]).unwrap_or_else(|e| panic!("{:#?}", e.0));
        let project = self.open();
        let prepared = project.prepare(&pipeline, &[], &force, &[]).unwrap();
        prepared.job().plan(Request::default()).unwrap()
    }

    /// `hit a`, `run b: why`, `may c: why`.
    pub fn planned(&self) -> Vec<String> {
        let line = |s: &Planned| match s.action {
            Action::Hit => format!("hit {}", s.stage),
            Action::Run => format!("run {}: {}", s.stage, s.why.join("; ")),
            Action::MayStop => format!("may {}: {}", s.stage, s.why.join("; ")),
            Action::Blocked => format!("blocked {}: {}", s.stage, s.why.join("; ")),
        };
        self.plan().stages.iter().map(line).collect()
    }
}

/// Wait until `condition` holds; panics after ten seconds.
pub fn eventually(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "it did not happen within ten seconds");
        std::thread::sleep(Duration::from_millis(2));
    }
}
