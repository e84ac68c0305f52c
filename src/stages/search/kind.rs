//! The parameters of `search`, their checks, and its run.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Invalid, Port, Stage};
use pipe_engine::contract::needs::parse_span;
use pipe_engine::contract::trial::{Target, Template};
use pipe_ml::search::{Method, Sampler};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::objective::{Direction, Objective};
use super::over::{Over, Varied};
use super::report::{Report, shown};
use super::rungs::RungParameters;
use super::trials::{Attempt, Plan, values_of_file};
use crate::stages::shared::types::{MODEL, TABLE};

/// Searches for the parameters of other stages that give the best result: a trial runs these stages with other values,
/// under the fingerprints that they would have if the file had these values. The first trial has the values of the file.
///
/// Suggestions depend on the seed and on the results of earlier trials alone, so a search is the same for every `--jobs`,
/// order of ending, machine and kill; with more trials, the first ones stay. `best` is the model of the best trial, and
/// `trials` a table of all, with an Optuna journal.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Search {
    /// How many trials, that of the file's own values included.
    trials: usize,
    /// The figure to optimize, of a stage that all varied stages lead to: `"scores.macro-f1"` of an `evaluate` on
    /// validation rows, or `"teacher.validation"` of a training.
    objective: String,
    /// Whether more or less of it is better. Default: what is usual for the figure.
    #[serde(default)]
    direction: Option<Direction>,
    /// What the trials vary, by stage and parameter: a list of values, or a range `{ low = 1e-5, high = 5e-5, log = true }`.
    /// Whole numbers stay whole. `when` varies a parameter only if another has one of these values.
    over: Over,
    /// How many trials run at a time. It is part of the definition: each trial is suggested without the results of those
    /// that may still be running.
    #[serde(default = "one")]
    parallel: usize,
    /// `"tpe"` learns from earlier trials, `"random"` does not, `"grid"` tries all values in turn.
    #[serde(default)]
    sampler: SamplerName,
    /// The first so many trials are drawn at random before `"tpe"` begins to learn.
    #[serde(default = "five")]
    startup: usize,
    /// Compare trials after some epochs and go on with the better ones: `{ epochs = [1, 3], keep = 0.5 }`.
    #[serde(default)]
    rungs: Option<RungParameters>,
    /// End after this many trials without a better value. Default: run all.
    #[serde(default)]
    patience: Option<usize>,
    /// End when the stages of the trials took this long together: `"2h"`. How many trials that is depends on the machine.
    #[serde(default)]
    budget: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum SamplerName {
    /// The tree-structured Parzen estimator (Bergstra et al., 2011).
    #[default]
    Tpe,
    Random,
    Grid,
}

impl SamplerName {
    fn method(self) -> Method {
        match self {
            Self::Tpe => Method::Tpe,
            Self::Random => Method::Random,
            Self::Grid => Method::Grid,
        }
    }
}

fn one() -> usize {
    1
}

/// What measured best; Optuna's own default of 10 leaves few guided trials of 15.
fn five() -> usize {
    5
}

/// More trials than this are probably a slip.
const MOST: usize = 10_000;

impl Stage for Search {
    const KIND: &'static str = "search";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("trials");
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[Port::one("best", MODEL), Port::one("trials", TABLE)];
    const RUNS_TRIALS: bool = true;
    const SEEDED: bool = true;

    fn is_seeded(&self) -> bool {
        self.sampler != SamplerName::Grid
    }

    fn templates(&self) -> Vec<Template> {
        let (Some(objective), Ok(varied)) = (Objective::of(&self.objective), Varied::of(&self.over)) else {
            return Vec::new();
        };
        let rungs = self.rungs.as_ref().and_then(|rungs| rungs.of(&self.over));
        vec![Template {
            key: "objective",
            target: objective.target.into(),
            varied: self.over.keys().cloned().collect(),
            samples: varied.samples().into_iter().chain(rungs.iter().flat_map(|rungs| rungs.samples())).collect(),
        }]
    }

    fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        let mut rule = |holds: bool, key: &'static str, message: String| {
            if !holds {
                wrong.push(Invalid::new(key, message));
            }
        };
        let (trials, parallel) = (self.trials, self.parallel);
        rule((1..=MOST).contains(&trials), "trials", format!("trials is {trials}; it must be from 1 to {MOST}"));
        rule(parallel > 0, "parallel", "parallel is 0; at least 1 is needed".into());
        let rest = format!("parallel is {parallel}, more than the {trials} trials");
        rule(parallel <= trials.max(1), "parallel", rest);
        rule(self.patience != Some(0), "patience", "patience is 0; at least 1 is needed".into());
        let of_budget = self.budget.as_ref().filter(|text| parse_span(text).is_none());
        if let Some(text) = of_budget {
            rule(false, "budget", format!("`{text}` is not a time; write for example \"90m\" or \"2h\""));
        }
        let says = "the objective is a stage and a figure of its result, such as \"scores.macro-f1\"";
        rule(Objective::of(&self.objective).is_some(), "objective", format!("`{}`: {says}", self.objective));
        match Varied::of(&self.over).and_then(|varied| match varied.problem(self.sampler.method()) {
            None => Ok(varied),
            Some(problem) => Err(problem),
        }) {
            Err(problem) => wrong.push(problem),
            Ok(varied) => {
                if let Some(size) = varied.space.size().filter(|size| *size < trials as u64) {
                    let message = format!("`over` has only {size} combinations, fewer than the {trials} trials");
                    wrong.push(
                        Invalid::new("trials", message).help(format!("write `use = \"search@{size}\"`, or vary more")),
                    );
                }
            }
        }
        wrong.extend(self.rungs.iter().flat_map(|rungs| rungs.check(&self.over)));
        wrong
    }

    fn foresee(&self, cx: &mut Context) -> Option<usize> {
        // An error says that a trial has no result yet, which is an answer too.
        let _ = self.plan(cx).ok()?.run(cx);
        Some(self.trials)
    }

    fn check_target(&self, target: &Target) -> Vec<Invalid> {
        Objective::of(&self.objective).map_or_else(Vec::new, |objective| objective.check(target, self.direction))
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        let plan = self.plan(cx)?;
        let attempts = plan.run(cx)?;
        let failed = attempts.iter().filter(|attempt| attempt.error.is_some()).count();
        let Some((k, best, value)) = plan.best(&attempts) else {
            let why = attempts.iter().find_map(|attempt| attempt.error.as_deref()).unwrap_or("none was run");
            bail!("none of the {} trials has a value; the first: {why}", attempts.len());
        };
        let figure = plan.objective.figure;
        let values: Vec<String> = plan
            .varied
            .overrides(&best.point)
            .into_iter()
            .map(|set| format!("{}.{} = {}", set.stage, set.key, shown(set.value)))
            .collect();
        cx.note(format!("best of {} trials: trial {k}, {figure} {value:.4}: {}", attempts.len(), values.join(", ")));
        cx.keep(format!("best: trial {k} of {}, {figure} {value:.4}: {}", attempts.len(), values.join(", ")));
        copy_model(cx, best)?;
        let name = cx.stage().to_owned();
        Report { name: &name, plan: &plan, attempts: &attempts }.write(&cx.output("trials")?)?;
        cx.fact(figure, value);
        cx.fact("best-trial", k as f64);
        cx.fact("trials", attempts.len() as f64);
        cx.fact("failed-trials", failed as f64);
        Ok(())
    }
}

impl Search {
    fn plan(&self, cx: &Context) -> Result<Plan<'_>> {
        let objective = Objective::of(&self.objective).context("internal error: the objective was not checked")?;
        let varied = Varied::of(&self.over).map_err(|problem| anyhow::anyhow!(problem.message))?;
        let stage = objective.target.split('[').next().unwrap_or_default();
        let parameters = cx.parameters_of(stage)?.unwrap_or_default();
        let direction = self.direction.or_else(|| objective.direction(&parameters));
        let first = values_of_file(cx, &varied)?;
        let maximize = direction.context("internal error: the direction was not checked")? == Direction::Maximize;
        let sampler = Sampler { method: self.sampler.method(), startup: self.startup, seed: cx.seed(), maximize };
        Ok(Plan {
            objective,
            varied,
            sampler,
            trials: self.trials,
            parallel: self.parallel,
            patience: self.patience,
            budget: self.budget.as_deref().and_then(parse_span),
            rungs: self.rungs.as_ref().and_then(|rungs| rungs.of(&self.over)),
            first,
        })
    }
}

/// Copy the model of the best trial: what its target scored, or what it gave.
fn copy_model(cx: &Context, best: &Attempt) -> Result<()> {
    let found = best.found.as_ref().context("internal error: the best trial has no result")?;
    let of_type = |ty: &str| ty == MODEL.0;
    let model = found.inputs.values().chain(found.entry.outputs.values()).find(|artifact| of_type(&artifact.ty));
    let from = cx.open(model.with_context(|| format!("{} neither takes nor gives a model", found.stage))?)?;
    copy_folder(&from, &cx.output("best")?)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for file in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = file?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            std::fs::create_dir_all(&target).with_context(|| format!("cannot create {}", target.display()))?;
            copy_folder(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}
