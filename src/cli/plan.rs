//! `pipe plan`: what `run` would do, and why, without doing it.

use super::context::{Context, File};
use crate::engine::plan::{self as engine, Action};
use crate::error::Error;
use crate::report::color::{ACTIVE, FAINT, STRONG};
use crate::report::table::Table;
use crate::report::{Color, format, line};

/// Say for each stage whether its result is there, and why not.
#[derive(Debug, clap::Args)]
pub struct Plan {
    #[command(flatten)]
    file: File,
    /// Only these stages and what they need.
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    /// Plan as if the result of a stage were not there; may be given several times.
    #[arg(long, value_name = "STAGE")]
    force: Vec<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Exit with 3 when something would run.
    #[arg(long)]
    exit_code: bool,
}

impl Plan {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let pipeline = cx.resolve(&self.file)?;
        let project = cx.project(Some(&self.file.file))?;
        let prepared = cx.prepare(&project, &pipeline, &self.stages, &self.force)?;
        let plan = prepared.job().plan()?;
        // What was digested now need not be digested again by the run.
        let _ = project.stats.save();
        if self.json {
            cx.print_json(&plan)?
        } else {
            print(cx, &plan)?
        }
        if self.exit_code && plan.runs() > 0 { Err(Error::Differences) } else { Ok(()) }
    }
}

pub fn print(cx: &mut Context<'_>, plan: &engine::Plan) -> Result<(), Error> {
    let text = render(plan, cx.color);
    cx.print(&text)
}

fn render(plan: &engine::Plan, color: Color) -> String {
    let profile = plan.profile.as_ref().map(|p| format!(" (profile {p})")).unwrap_or_default();
    let mut counts = vec![
        format::plural(plan.stages.len(), "stage"),
        format!("{} cached", plan.hits()),
        format!("{} to run", plan.runs()),
    ];
    counts.extend(plan.seconds().map(|s| format!("about {}", format::duration(s))));
    let mut table = Table::new(["", "", "", ">"]).indent(2);
    for stage in &plan.stages {
        let (word, seconds) = match stage.action {
            Action::Hit => ("hit", None),
            Action::Run | Action::MayStop => ("run", stage.seconds),
        };
        table.row([
            word.to_string(),
            stage.stage.clone(),
            line::reasons(&stage.why),
            seconds.map(format::duration).unwrap_or_default(),
        ]);
    }
    let mut text = format!("{} {}{profile}: {}\n", color.paint(STRONG, "plan"), plan.pipeline, counts.join(", "));
    for row in table.render().split_inclusive('\n') {
        // Painted after the columns are aligned: escapes have no width.
        let (word, rest) = row.split_at(5);
        text.push_str(&format!(
            "  {}{rest}",
            color.paint(if word == "  hit" { FAINT } else { ACTIVE }, word.trim_start())
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::plan::Planned;

    fn plan() -> engine::Plan {
        let stage = |name: &str, action, why: &[&str], seconds| Planned {
            stage: name.into(),
            kind: "x".into(),
            action,
            why: why.iter().map(|w| w.to_string()).collect(),
            seconds,
        };
        let stages = vec![
            stage("corpus", Action::Hit, &[], Some(3.0)),
            stage("teacher", Action::Run, &["learning-rate 0.0005 → 0.0003"], Some(70.0)),
            stage("scores[teacher]", Action::MayStop, &["in.model: teacher will change"], Some(4.0)),
            stage("comparison", Action::Run, &["no result yet"], None),
        ];
        engine::Plan { pipeline: "roberta-full".into(), profile: Some("full".into()), stages }
    }

    #[test]
    fn as_the_style_page_shows_it() {
        assert_eq!(
            render(&plan(), Color::Never),
            "\
plan roberta-full (profile full): 4 stages, 1 cached, 3 to run, about 1m 14s
  hit  corpus
  run  teacher          learning-rate 0.0005 → 0.0003  1m 10s
  run  scores[teacher]  in.model: teacher will change    4.0s
  run  comparison       no result yet
"
        );
        assert_eq!(
            anstream::adapter::strip_str(&render(&plan(), Color::Always)).to_string(),
            render(&plan(), Color::Never)
        );
    }

    #[test]
    fn nothing_to_do() {
        let plan = engine::Plan { stages: plan().stages.drain(..1).collect(), profile: None, ..plan() };
        assert_eq!(render(&plan, Color::Never), "plan roberta-full: 1 stage, 1 cached, 0 to run\n  hit  corpus\n");
    }
}
