//! The cost of the engine itself: stages that do almost nothing, run once, run again, and planned by the thousand.
//!
//! ```sh
//! cargo bench --bench engine [-- STAGES]     # STAGES of the big pipeline, 10,000 unless told otherwise
//! ```

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use pipe_engine::contract::context::Context;
use pipe_engine::contract::event::Quiet;
use pipe_engine::contract::kind::{Kind, Port, Stage, Type};
use pipe_engine::contract::run_id::RunId;
use pipe_engine::declare::resolve::resolve;
use pipe_engine::judge::plan::{Action, Request};
use pipe_engine::judge::project::{Project, read_source};
use pipe_engine::run::executor::Threads;
use pipe_engine::run::schedule::{RunOptions, run};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TEXT: Type = Type("text");
const KINDS: &[Kind] = &[Kind::of::<Copy>()];

/// Writes its number, and the content of its input first.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Copy {
    number: u32,
}

impl Stage for Copy {
    const KIND: &'static str = "copy";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::optional("text", TEXT)];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        Ok(std::fs::write(cx.output("text")?.join("text"), self.number.to_string())?)
    }
}

/// `stages` toy stages in chains of `length`.
fn pipeline(stages: usize, length: usize) -> String {
    let mut text = String::from("name = \"bench\"\n");
    for i in 0..stages {
        text += &format!("[stage.s{i}]\nuse = \"copy\"\nnumber = {i}\n");
        if i % length > 0 {
            text += &format!("in.text = \"s{}\"\n", i - 1);
        }
    }
    text
}

struct Bench {
    temp: tempfile::TempDir,
}

impl Bench {
    fn new(text: &str) -> std::io::Result<Self> {
        // Next to the build, where users keep results too: a temporary folder may be in memory.
        let temp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        std::fs::write(temp.path().join("p.toml"), text)?;
        Ok(Self { temp })
    }

    fn timed(&self, work: impl Fn(&Project, &pipe_engine::declare::resolve::Pipeline)) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let pipeline = resolve(&read_source(&self.temp.path().join("p.toml"))?, None, &[], KINDS)?;
        let project = Project::open(self.temp.path(), None)?;
        work(&project, &pipeline);
        Ok(begin.elapsed())
    }

    fn run(&self, jobs: usize) -> anyhow::Result<Duration> {
        self.timed(|project, pipeline| {
            let options = RunOptions {
                id: &RunId::now(),
                jobs,
                keep_going: false,
                device: "cpu",
                gpus: 0,
                memory: None,
                plan: None,
                executor: &Threads,
            };
            let prepared = project.prepare(pipeline, &[], &[], &[]).expect("no stage is named");
            let outcome = run(&prepared.job(), &options, &Quiet, &AtomicBool::new(false)).expect("the disk works");
            assert_eq!(outcome.hits + outcome.ran, pipeline.instances.len());
        })
    }

    fn plan(&self, hits: usize) -> anyhow::Result<Duration> {
        self.timed(|project, pipeline| {
            let prepared = project.prepare(pipeline, &[], &[], &[]).expect("no stage is named");
            let plan = prepared.job().plan(Request::default()).expect("the disk works");
            assert_eq!(plan.count(Action::Hit), hits);
        })
    }
}

/// The best time of five, in milliseconds.
fn best(mut once: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<f64> {
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(once()?.as_secs_f64() * 1e3);
    }
    Ok(all.into_iter().fold(f64::INFINITY, f64::min))
}

/// The peak resident memory of the process so far, in MB; `VmHWM` of Linux.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    kib.map_or("unknown".into(), |k| format!("{:.0} MB", k * 1024.0 / 1e6))
}

fn main() -> anyhow::Result<()> {
    let stages: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(10_000);

    for jobs in [1, 4] {
        let each = best(|| Bench::new(&pipeline(100, 100 / jobs))?.run(jobs))? / 100.0;
        println!("run, commit and record a trivial stage, {jobs} at a time: {each:.2} ms");
    }
    let chain = Bench::new(&pipeline(30, 30))?;
    chain.run(1)?;
    println!("no-op run of 30 stages: {:.2} ms", best(|| chain.run(1))?);

    let big = Bench::new(&pipeline(stages, 50))?;
    println!("plan of {stages} stages, no results: {:.0} ms, at most {} resident", best(|| big.plan(0))?, peak());
    big.run(4)?;
    let hits = best(|| big.plan(stages))?;
    println!("plan of {stages} stages, all cached: {hits:.0} ms, at most {} resident", peak());
    println!("no-op run of {stages} stages: {:.0} ms", best(|| big.run(4))?);
    Ok(())
}
