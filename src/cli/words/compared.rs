//! Compares the metrics of a run with those of an earlier run, or of a git revision's cached results.

use serde::Serialize;

use super::database::database;
use super::side::Side;
use crate::cli::context::{Context, File};
use crate::error::Error;
use crate::report::format;
use crate::report::table::Table;
use pipe_engine::diff::Pair;
use pipe_engine::judge::external::Lookup;
use pipe_engine::judge::history::{Fact, RunRecord};
use pipe_engine::judge::project::Project;

/// The metrics to compare with.
pub struct Before {
    /// `run 3`, `HEAD~1:pipelines/x.toml`.
    shown: String,
    pub facts: Vec<Fact>,
    /// Stages at a revision whose results the cache lacks.
    not_cached: Vec<String>,
}

/// Two sets of metrics side by side.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Compared {
    before: String,
    run: RunRecord,
    metrics: Vec<Row>,
    not_cached: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    stage: String,
    name: String,
    before: Option<f64>,
    now: Option<f64>,
}

/// A number selects the run with this id, if there is one; anything else is a revision of the pipeline file.
pub fn before(cx: &Context<'_>, project: &Project, file: Option<&File>, word: &str) -> Result<Before, Error> {
    let database = database(project)?;
    let is_run = |id: &i64| database.runs(None, i32::MAX as usize).is_ok_and(|all| all.iter().any(|r| r.id == *id));
    if let Some(id) = word.parse::<i64>().ok().filter(is_run) {
        return Ok(Before { shown: format!("run {id}"), facts: database.facts(id)?, not_cached: Vec::new() });
    }
    let Some(file) = file else {
        return Err(Error::usage(format!("there is no run `{word}`"))
            .help("`pipe history` lists the runs; to compare with a git revision, give the pipeline file too"));
    };
    at_revision(cx, project, file, word).map_err(|error| match word.parse::<i64>() {
        Ok(_) => error.help("there is no run with this number either; `pipe history` lists the runs"),
        Err(_) => error,
    })
}

/// The metrics of the cached results of a file at a revision, with the input files of that revision.
fn at_revision(cx: &Context<'_>, project: &Project, file: &File, revision: &str) -> Result<Before, Error> {
    let side = Side::of_file(&file.file, revision)?;
    let pair = Pair::read(side.text()?, (String::new(), None), file.reading(cx))?;
    let Some(pipeline) = &pair.base.pipeline else {
        return Err(Error::usage(format!("revision `{revision}` has no file {}", file.file.display())));
    };
    let files = side.revision(&project.root, &pair.inputs(cx.build.origins))?;
    let lookup = Lookup { root: &project.root, origins: cx.build.origins, revision: &files };
    let prepared = project.prepare(pipeline, &[], &[], cx.build.origins)?.at(lookup);
    let mut all = Before { shown: pair.base.place.clone(), facts: Vec::new(), not_cached: Vec::new() };
    for (verdict, instance) in prepared.job().verdicts()?.into_iter().zip(&pipeline.instances) {
        let fact =
            |(name, value): (&String, &f64)| Fact { stage: instance.name.clone(), name: name.clone(), value: *value };
        match verdict.and_then(|v| v.entry) {
            Some(entry) => all.facts.extend(entry.made.facts.iter().map(fact)),
            None => all.not_cached.push(instance.name.clone()),
        }
    }
    Ok(all)
}

/// Every metric of either side, in the order of the run.
pub fn compare(before: Before, run: RunRecord, now: &[Fact]) -> Compared {
    let find =
        |facts: &[Fact], of: &Fact| facts.iter().find(|f| f.stage == of.stage && f.name == of.name).map(|f| f.value);
    let gone = before.facts.iter().filter(|f| find(now, f).is_none());
    let row = |f: &Fact| Row {
        stage: f.stage.clone(),
        name: f.name.clone(),
        before: find(&before.facts, f),
        now: find(now, f),
    };
    let metrics = now.iter().chain(gone).map(row).collect();
    Compared { metrics, run, before: before.shown, not_cached: before.not_cached }
}

impl Compared {
    pub fn render(&self) -> String {
        let Self { run, before, metrics, not_cached } = self;
        let moment = format::moment(run.started as f64);
        let mut text = format!("run {} of {}, {moment} UTC, compared with {before}\n", run.id, run.pipeline);
        let mut table = Table::new(["stage", "metric", ">before", ">now", ">change"]);
        for Row { stage, name, before, now } in metrics {
            let shown = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format::fact(name, v));
            let change = before.zip(*now).map_or_else(String::new, |(old, new)| change(name, new - old));
            table.row([stage.clone(), name.clone(), shown(*before), shown(*now), change]);
        }
        text.push_str(if metrics.is_empty() { "no metrics\n" } else { "\n" });
        text.push_str(&if metrics.is_empty() { String::new() } else { table.render() });
        if !not_cached.is_empty() {
            text.push_str(&format!("\nnot in the cache at that revision: {}\n", not_cached.join(", ")));
        }
        text
    }
}

fn change(name: &str, by: f64) -> String {
    match by {
        0.0 => "=".into(),
        by if by > 0.0 => format!("+{}", format::fact(name, by)),
        by => format!("−{}", format::fact(name, -by)),
    }
}
