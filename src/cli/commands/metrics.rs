//! `pipe metrics`: the metrics of a run's stages.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::context::{Context, File};
use crate::cli::words::compared::{before, compare};
use crate::cli::words::database::{database, pipeline_name};
use crate::error::Error;
use crate::report::format;
use crate::report::table::Table;
use pipe_engine::judge::history::{Fact, RunRecord};

/// Show the metrics of a run, by default the newest.
#[derive(Debug, clap::Args)]
pub struct Metrics {
    /// Show the newest run of this pipeline file.
    file: Option<PathBuf>,
    /// Show the run with this number; `pipe history` lists them.
    #[arg(long, value_name = "N")]
    run: Option<i64>,
    /// Show only this stage, with all its instances; may be given several times.
    #[arg(long, value_name = "STAGE")]
    stage: Vec<String>,
    /// Compare with an earlier run, or with the cached results of the definition at a git revision.
    #[arg(long, value_name = "RUN|REV")]
    against: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    run: RunRecord,
    metrics: Vec<Fact>,
}

impl Metrics {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let pipeline = pipeline_name(cx, self.file.as_ref())?;
        let project = cx.project(self.file.as_deref())?;
        let database = database(&project)?;
        let runs = database.runs(pipeline.as_deref(), if self.run.is_some() { i32::MAX as usize } else { 1 })?;
        let found = runs.into_iter().find(|r| self.run.is_none_or(|id| r.id == id));
        let Some(run) = found else {
            let which = self.run.map_or("no runs yet".into(), |id| format!("there is no run {id}"));
            return Err(Error::usage(which).help("`pipe history` lists the runs"));
        };
        let mut metrics = database.facts(run.id)?;
        let is_wanted = |name: &str| {
            self.stage
                .iter()
                .any(|s| name == s || name.strip_prefix(s.as_str()).is_some_and(|rest| rest.starts_with('[')))
        };
        let is_wanted = |fact: &Fact| self.stage.is_empty() || is_wanted(&fact.stage);
        metrics.retain(is_wanted);
        if let Some(word) = &self.against {
            let file = self.file.map(|file| File { file, profile: run.profile.clone(), set: Vec::new() });
            let mut earlier = before(cx, &project, file.as_ref(), word)?;
            earlier.facts.retain(is_wanted);
            let compared = compare(earlier, run, &metrics);
            return if self.json { cx.print_json(&compared) } else { cx.print(&compared.render()) };
        }
        if self.json {
            return cx.print_json(&Report { run, metrics });
        }
        cx.print(&render(&run, &metrics))
    }
}

/// Stages with the same metrics share a table.
fn render(run: &RunRecord, facts: &[Fact]) -> String {
    let mut stages: Vec<(&str, Vec<&Fact>)> = Vec::new();
    for fact in facts {
        match stages.iter_mut().find(|(name, _)| *name == fact.stage) {
            Some((_, mine)) => mine.push(fact),
            None => stages.push((&fact.stage, vec![fact])),
        }
    }
    type Group<'a> = (Vec<&'a str>, Vec<(&'a str, Vec<&'a Fact>)>);
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (stage, mine) in stages {
        let names: Vec<&str> = mine.iter().map(|f| f.name.as_str()).collect();
        match groups.iter_mut().find(|(known, _)| *known == names) {
            Some((_, members)) => members.push((stage, mine)),
            None => groups.push((names, vec![(stage, mine)])),
        }
    }
    let mut text = format!("run {} of {}, {} UTC\n", run.id, run.pipeline, format::moment(run.started as f64));
    for (names, members) in groups {
        let headers: Vec<String> = members.iter().map(|(stage, _)| format!(">{stage}")).collect();
        let mut table = Table::new(std::iter::once("metric").chain(headers.iter().map(String::as_str)));
        for (row, name) in names.iter().enumerate() {
            table.row(
                std::iter::once(name.to_string())
                    .chain(members.iter().map(|(_, mine)| format::fact(name, mine[row].value))),
            );
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    if facts.is_empty() {
        text.push_str("no metrics\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_with_the_same_metrics_stand_side_by_side() {
        let fact = |stage: &str, name: &str, value| Fact { stage: stage.into(), name: name.into(), value };
        let run = RunRecord { id: 7, run: None, pipeline: "p".into(), profile: None, started: 0, outcome: None };
        let facts = [
            fact("teacher", "samples-per-second", 412.0),
            fact("scores[teacher]", "accuracy", 0.8421),
            fact("scores[teacher]", "bytes", 1e6),
            fact("scores[int8]", "accuracy", 0.5),
            fact("scores[int8]", "bytes", 25e4),
        ];
        assert_eq!(
            render(&run, &facts),
            "\
run 7 of p, 1970-01-01 00:00 UTC

metric              teacher
samples-per-second    412/s

metric    scores[teacher]  scores[int8]
accuracy            0.842         0.500
bytes              1.0 MB      250.0 kB
"
        );
        assert_eq!(render(&run, &[]), "run 7 of p, 1970-01-01 00:00 UTC\nno metrics\n");
    }
}
