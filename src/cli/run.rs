//! `pipe run`: bring a pipeline's results up to date.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::context::{Context, File};
use super::{interrupt, plan};
use crate::engine::event::{Event, Observer, Outcome};
use crate::engine::schedule::{self, RunOptions};
use crate::error::Error;
use crate::report::{Mode, reporter};

/// Run what is needed for a pipeline, or for some of its stages.
#[derive(Debug, clap::Args)]
pub struct Run {
    #[command(flatten)]
    file: File,
    /// Only these stages and what they need.
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    /// Where to compute: auto, cpu, cuda, cuda:N, wgpu or wgpu:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: String,
    /// Stages at a time [default: the number of cores, 4 at most].
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// When a stage fails, go on with those that do not need it.
    #[arg(long, short)]
    keep_going: bool,
    /// Run a stage although its result is there; may be given several times.
    #[arg(long, value_name = "STAGE")]
    force: Vec<String>,
    /// Say what would run, and why, without running it.
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Events as JSON, one object a line, on standard output.
    #[arg(long)]
    json: bool,
}

/// Stages compute on all cores by themselves: more of them at a time mostly cost memory.
const MOST_JOBS: usize = 4;

impl Run {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let gpus = (cx.stock.gpus)(&self.device).map_err(|e| Error::usage(format!("{e:#}")))?;
        let pipeline = cx.resolve(&self.file)?;
        let project = cx.project(Some(&self.file.file))?;
        let reporter: Arc<dyn Observer + Send> = Arc::from(reporter(if self.json { Mode::Json } else { Mode::Auto }));
        if let Some(text) = &project.history_problem {
            reporter.event(&Event::Warning { stage: None, text: text.clone() });
        }
        let prepared = project.prepare(&pipeline, &self.stages, &self.force, cx.stock.remotes, reporter.as_ref())?;
        let job = prepared.job();
        if self.dry_run {
            return if self.json { cx.print_json(&job.plan()?) } else { plan::print(cx, &job.plan()?) };
        }
        let stop = interrupt::listen(&reporter)?;
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let jobs = self.jobs.map_or(cores.min(MOST_JOBS), NonZeroUsize::get);
        let options = RunOptions { jobs, keep_going: self.keep_going, device: &self.device, gpus };
        ended(&schedule::run(&job, &options, reporter.as_ref(), stop)?)
    }
}

/// What the reporter has told already needs only its exit code.
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
