//! `pipe why`: what a stage's result depends on, and what of it changed.

use super::context::{Context, File, named};
use crate::engine::plan::Verdict;
use crate::error::Error;
use crate::report::format;
use crate::report::table::Table;

/// Explain why a stage would run, or why its result still holds.
#[derive(Debug, clap::Args)]
pub struct Why {
    #[command(flatten)]
    file: File,
    /// The stage.
    stage: String,
    /// Also list every line that the result depends on.
    #[arg(long, short)]
    all: bool,
}

impl Why {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let pipeline = cx.resolve(&self.file)?;
        let project = cx.project(Some(&self.file.file))?;
        let prepared = cx.prepare(&project, &pipeline, std::slice::from_ref(&self.stage), &[])?;
        let verdicts = prepared.job().verdicts()?;
        let mut text = String::new();
        for at in named(&pipeline, &self.stage) {
            if let Some(verdict) = &verdicts[at] {
                text.push_str(&explain(&pipeline.instances[at].name, verdict, self.all));
            }
        }
        cx.print(&text)
    }
}

fn explain(name: &str, verdict: &Verdict, all: bool) -> String {
    let lines = verdict.manifest.0.len();
    let mut text = match &verdict.entry {
        Some(entry) => format!(
            "hit  {name}: all {} that it depends on are as they were on {} UTC, when it took {} on {}\n",
            format::plural(lines, "line"),
            format::moment(entry.made.at as f64),
            format::duration(entry.made.seconds),
            entry.made.device
        ),
        None => format!("run  {name}\n") + &verdict.why.iter().map(|w| format!("  {w}\n")).collect::<String>(),
    };
    if all {
        let mut table = Table::new(["", ""]).indent(2);
        verdict.manifest.0.iter().for_each(|l| table.row([l.label.as_str(), l.value.as_str()]));
        text.push_str("depends on\n");
        text.push_str(&table.render());
    }
    text
}
