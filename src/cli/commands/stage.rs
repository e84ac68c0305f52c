//! `pipe stage run`: one stage of a plan, in a process of its own.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;

use crate::cli::context::{Context, named};
use crate::cli::words::{interrupt, saved};
use crate::error::Error;
use crate::report::{Mode, reporter};
use pipe_engine::contract::event::Observer;
use pipe_engine::contract::run_id::RunId;
use pipe_engine::declare::resolve::{Pipeline, resolve};
use pipe_engine::judge::plan::Plan;
use pipe_engine::judge::project::{Project, read_source};
use pipe_engine::run::single::{Exit, Single};
use pipe_engine::text::diagnostic::{Source, listed};

/// Run one stage of a plan; executors start this.
#[derive(Debug, clap::Args)]
pub struct Stage {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Run(StageRun),
}

/// Run one stage of a plan and commit its result to the cache.
///
/// `pipe run --executor processes` and cluster executors start this command. The stage is judged again: if its result is
/// in the cache, nothing runs, and if it changed since the plan was made, it fails. Results of the stages before it have
/// to be in the cache. SIGTERM or Ctrl-C saves a checkpoint, from which the next attempt continues.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 the result is in the cache, 1 the stage failed, 2 bad usage or pipeline file, 65 an input is damaged, 66 an input is not in the cache, 75 interrupted with its checkpoints kept."
)]
struct StageRun {
    /// A plan written by `pipe plan --out`; `-` reads it from standard input.
    plan: PathBuf,
    /// The stage, or one of its instances, such as `scores[teacher]`.
    name: String,
    /// Where to compute: auto, cpu, cuda, cuda:N, wgpu or wgpu:N; with cuda:0,1 both GPUs share each training step.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: String,
    /// The project root [default: as for the pipeline file of the plan].
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Print events as JSON on standard output, one object per line.
    #[arg(long)]
    json: bool,
}

impl Stage {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        match self.action {
            Action::Run(run) => run.run(cx),
        }
    }
}

impl StageRun {
    fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        (cx.build.gpus)(&self.device).map_err(|e| Error::usage(format!("{e:#}")))?;
        let plan = saved::read(&self.plan)?;
        let here = self.root.as_deref().map(std::path::absolute).transpose();
        let here = here.map_err(|e| Error::usage(format!("cannot find the project root: {e}")))?;
        let file = saved::file_of(&plan.request, here.as_deref());
        let source = match &plan.source {
            Some(text) => Source::new(file.display().to_string(), text.clone()),
            None => read_source(&file)?,
        };
        let pipeline = resolve(&source, plan.request.profile.as_deref(), &plan.request.set, cx.build.kinds)?;
        let root = here.unwrap_or_else(|| Project::root_of(&file));
        let project = Project::open(&root, cx.cache_dir.as_deref())?;
        let id = RunId::now();
        let mode = if self.json { Mode::Json } else { Mode::Auto };
        let reporter: Arc<dyn Observer + Send> = Arc::from(reporter(mode, &id));
        let (word, force) = self.select(&pipeline, &plan)?;
        let mut prepared = project.prepare(&pipeline, std::slice::from_ref(&word), &force, cx.build.origins)?;
        let at = pipeline.instances.iter().position(|i| i.name == word);
        let at = at.ok_or_else(|| Error::usage(format!("{} has no stage `{word}`", source.name)))?;
        prepared.fetch(cx.build.origins, reporter.as_ref());
        let stop = interrupt::listen(&reporter)?;
        let (device, observer) = (self.device.as_str(), reporter.as_ref());
        let single = Single { id: &id, job: &prepared.job(), plan: &plan, at, device, observer, stop };
        match single.run()? {
            Exit::Done => Ok(()),
            exit => Err(Error::StageEnded(exit)),
        }
    }

    /// The name of the instance to run, and again if it is forced. An unknown name is returned as it is.
    fn select(&self, pipeline: &Pipeline, plan: &Plan) -> Result<(String, Vec<String>), Error> {
        let all = &pipeline.instances;
        let at = match named(pipeline, &self.name).as_slice() {
            [] => return Ok((self.name.clone(), Vec::new())),
            [one] => *one,
            several => {
                let names = several.iter().map(|&at| all[at].name.as_str());
                return Err(Error::usage(format!("`{}` has several instances", self.name))
                    .help(format!("name one of them: {}", listed(names))));
            }
        };
        let name = all[at].name.clone();
        let is_forced = plan.request.force.iter().any(|word| *word == name || *word == all[at].stage);
        Ok((name.clone(), if is_forced { vec![name] } else { Vec::new() }))
    }
}
