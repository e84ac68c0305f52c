//! `pipe run`: bring a pipeline's results up to date.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use super::plan;
use crate::cli::context::{Context, File};
use crate::cli::words::machine::machine;
use crate::cli::words::{archive, interrupt, saved};
use crate::error::Error;
use crate::report::{Mode, reporter, secret};
use pipe_engine::contract::event::{Event, Observer, Outcome, Tee};
use pipe_engine::contract::run_id::RunId;
use pipe_engine::judge::job::Job;
use pipe_engine::judge::plan::{Plan, Request};
use pipe_engine::judge::project::Project;
use pipe_engine::run::executor::{Executor, Threads};
use pipe_engine::run::log::RunLog;
use pipe_engine::run::processes::Processes;
use pipe_engine::run::schedule;
use pipe_engine::run::schedule::RunOptions;

/// Run what a pipeline, or some of its stages, needs.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// The pipeline file.
    #[arg(required_unless_present = "plan")]
    file: Option<PathBuf>,
    /// Run only these stages and what they need.
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    /// Apply a profile of the file.
    #[arg(long, short, value_name = "NAME")]
    profile: Option<String>,
    /// Override one value, as in `--set stage.teacher.epochs=1`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Run a plan written by `pipe plan --out`; refuse if anything has changed since.
    #[arg(long, value_name = "PLAN", conflicts_with_all = ["file", "stages", "profile", "set", "force"])]
    plan: Option<PathBuf>,
    /// Where to compute: auto, cpu, cuda, cuda:N, wgpu or wgpu:N; with cuda:0,1 both GPUs share each training step.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: String,
    /// Where stages run: in threads of this process, or each in a process of its own.
    #[arg(long, value_enum, default_value_t = Where::Threads, value_name = "EXECUTOR")]
    executor: Where,
    /// Slots: how many stages run at a time if each takes one [default: the number of cores, at most 4].
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// If a stage fails, continue with those that do not need it.
    #[arg(long, short)]
    keep_going: bool,
    /// Run a stage even if its result is cached; may be given several times.
    #[arg(long, value_name = "STAGE")]
    force: Vec<String>,
    /// Show what would run, and why, without running it.
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Print events as JSON on standard output, one object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    archive: archive::Options,
    /// How long to wait at the end for uploads to the archive, such as 30s or 5m [default: 1m].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    archive_wait: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Where {
    Threads,
    Processes,
}

/// What to run, from the command line or from a plan.
struct Wanted {
    file: File,
    stages: Vec<String>,
    force: Vec<String>,
    /// The plan, with the file that it was read from.
    plan: Option<(PathBuf, Plan)>,
}

impl Run {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let gpus = (cx.build.gpus)(&self.device).map_err(|e| Error::usage(format!("{e:#}")))?;
        let wanted = self.wanted()?;
        let pipeline = cx.resolve(&wanted.file)?;
        let mut project = cx.project(Some(&wanted.file.file))?;
        self.archive.attach(&mut project, self.archive_wait)?;
        let id = RunId::now();
        let mode = if self.json { Mode::Json } else { Mode::Auto };
        let reporter: Arc<dyn Observer + Send> = Arc::from(reporter(mode, &id));
        let log = RunLog::new(&project.cache, &id, secret::masked, reporter.as_ref());
        let observers: [&dyn Observer; 2] = [reporter.as_ref(), &log];
        let observer = Tee(&observers);
        if let Some(text) = &project.history_problem {
            observer.event(&Event::Warning { stage: None, text: text.clone() });
        }
        let mut prepared = project.prepare(&pipeline, &wanted.stages, &wanted.force, cx.build.origins)?;
        // Report a mistyped path before downloading anything. With --keep-going only the stages that need the path
        // fail.
        if !self.keep_going {
            prepared.complete()?;
        }
        let request = || plan::request(&wanted.file, &project, &wanted.stages, &wanted.force);
        let machine = machine(&pipeline, self.jobs, gpus);
        // With --keep-going only the stages that need too much fail.
        if !self.keep_going
            && let Some(large) = prepared.job().too_large(&machine)?
        {
            return Err(large.into());
        }
        let planned = wanted.plan.as_ref();
        if let Some((path, planned)) = planned {
            saved::hold(path, planned, &prepared.job().plan(request())?, &pipeline)?;
        }
        if self.dry_run {
            let plan = prepared.job().plan(request())?;
            archive::warn(&project);
            if self.json {
                cx.print_json(&plan)?
            } else {
                plan::print(cx, &plan)?
            };
            return self.foreseen(&prepared.job());
        }
        prepared.fetch(cx.build.origins, &observer);
        if !self.keep_going {
            prepared.complete()?;
        }
        self.foreseen(&prepared.job())?;
        let stop = interrupt::listen(&reporter)?;
        let plan = planned.map(|(_, plan)| plan);
        let processes = self.processes(&project, request())?;
        let executor: &dyn Executor = match self.executor {
            Where::Threads => &Threads,
            Where::Processes => &processes,
        };
        let options = RunOptions {
            id: &id,
            jobs: machine.cpus,
            keep_going: self.keep_going,
            device: &self.device,
            gpus,
            memory: machine.memory,
            plan,
            executor,
        };
        ended(&schedule::run(&prepared.job(), &options, &observer, stop)?)
    }

    /// Whether the kinds tell that a stage cannot succeed. With --keep-going only such stages fail.
    fn foreseen(&self, job: &Job<'_>) -> Result<(), Error> {
        match job.foreseen()? {
            Some(problems) if !self.keep_going => Err(problems.into()),
            _ => Ok(()),
        }
    }

    /// Starts `pipe stage run - STAGE` for each stage.
    fn processes(&self, project: &Project, request: Request) -> Result<Processes, Error> {
        let cache = std::path::absolute(project.cache.dir());
        let cache = cache.map_err(|e| Error::failed(format!("cannot find the cache folder: {e}")))?;
        let mut arguments: Vec<OsString> = vec!["--cache-dir".into(), cache.into(), "stage".into(), "run".into()];
        arguments.extend(["--root".into(), project.root.clone().into()]);
        arguments.extend(["--device".into(), self.device.clone().into(), "--json".into(), "-".into()]);
        // This program, even if its file has been replaced since it started.
        Ok(Processes { program: "/proc/self/exe".into(), arguments, request })
    }

    fn wanted(&self) -> Result<Wanted, Error> {
        let Some(path) = &self.plan else {
            let file = self.file.clone().ok_or_else(|| Error::usage("no pipeline file given"))?;
            let file = File { file, profile: self.profile.clone(), set: self.set.clone() };
            return Ok(Wanted { file, stages: self.stages.clone(), force: self.force.clone(), plan: None });
        };
        let plan = saved::read(path)?;
        let shown = saved::file_of(&plan.request, None);
        let Request { file: _, profile, set, stages, force } = plan.request.clone();
        let file = File { file: shown, profile, set };
        Ok(Wanted { file, stages, force, plan: Some((path.clone(), plan)) })
    }
}

/// The exit code; the reporter has reported the outcome.
fn ended(outcome: &Outcome) -> Result<(), Error> {
    match outcome {
        Outcome { interrupted: true, .. } => Err(Error::Interrupted),
        Outcome { failed: 0, blocked: 0, .. } => Ok(()),
        Outcome { .. } => Err(Error::StagesFailed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_exit_codes() {
        let code = |outcome: Outcome| ended(&outcome).err().map_or(0, |e| e.exit_code());
        assert_eq!(code(Outcome { hits: 3, ran: 1, ..Outcome::default() }), 0);
        assert_eq!(code(Outcome { failed: 1, blocked: 2, ..Outcome::default() }), 1);
        assert_eq!(code(Outcome { failed: 1, interrupted: true, ..Outcome::default() }), 130);
    }
}
