//! `pipe why`: what a stage's result depends on, and what has changed.

use crate::cli::context::{Context, File, named};
use crate::cli::words::side::{Side, open};
use crate::error::Error;
use crate::report::diff::phrase;
use crate::report::format;
use crate::report::table::Table;
use pipe_engine::declare::instance::Instance;
use pipe_engine::declare::resolve::Pipeline;
use pipe_engine::diff::{Affected, Change, Review, What};
use pipe_engine::judge::verdict::Verdict;
use pipe_engine::text::diagnostic::closest;

/// Explain why a stage would run, or why its result is still valid.
#[derive(Debug, clap::Args)]
pub struct Why {
    #[command(flatten)]
    file: File,
    /// The stage to explain.
    stage: String,
    /// Also list every line that the result depends on.
    #[arg(long, short)]
    all: bool,
    /// Explain the differences from the definition at a git revision, whatever the cache contains.
    #[arg(long, value_name = "REV", conflicts_with = "all")]
    against: Option<String>,
}

impl Why {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        if let Some(revision) = &self.against {
            let text = self.against(cx, revision)?;
            return cx.print(&text);
        }
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

    fn against(&self, cx: &Context<'_>, revision: &str) -> Result<String, Error> {
        let reading = self.file.reading(cx);
        let head = Side::File(self.file.file.clone());
        let opened = open(cx, &Side::of_file(&self.file.file, revision)?, &head, reading)?;
        let review = opened.pair.review(&opened.touched, reading);
        let Some(pipeline) = &opened.pair.head.pipeline else { return Ok(String::new()) };
        let stages = named(pipeline, &self.stage);
        if stages.is_empty() {
            let known = pipeline.instances.iter().map(|i| i.stage.as_str());
            let error = Error::usage(format!("{} has no stage `{}`", self.file.file.display(), self.stage));
            return Err(match closest(&self.stage, known) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error,
            });
        }
        Ok(stages.into_iter().map(|at| traced(&review, pipeline, at, revision)).collect())
    }
}

/// The manifest lines of an instance that differ from a revision; those of inputs are traced to the change.
fn traced(review: &Review, pipeline: &Pipeline, at: usize, revision: &str) -> String {
    let instance = &pipeline.instances[at];
    let affected = |name: &str| review.invalidated.iter().find(|a| a.instance == name);
    let Some(mine) = affected(&instance.name) else {
        return format!("{}: no line differs from {revision}\n", instance.name);
    };
    let mut lines: Vec<String> = changes(review, instance).map(phrase).collect();
    for wire in &instance.inputs {
        let source = &pipeline.instances[wire.from];
        let label = instance.input_label(wire);
        lines.extend(affected(&source.name).map(|a| format!("{label}: {}", way(review, pipeline, a))));
    }
    // A removed or renamed input is not in the list of the stage's own changes.
    if mine.path.len() == 1 && (lines.is_empty() || mine.reason.ends_with(')')) {
        lines.push(mine.reason.strip_prefix(&instance.name).unwrap_or(&mine.reason).trim_start().into());
    }
    let lines: String = lines.iter().map(|l| format!("  {l}\n")).collect();
    format!("{} compared with {revision}\n{lines}", instance.name)
}

/// `scores[teacher] ← teacher.learning-rate 0.0005 → 0.0003`.
fn way(review: &Review, pipeline: &Pipeline, affected: &Affected) -> String {
    let last = affected.path.last().and_then(|name| pipeline.instances.iter().find(|i| i.name == *name));
    let mut changed = last.into_iter().flat_map(|i| changes(review, i));
    let (Some(first), more) = (changed.next(), changed.count()) else { return affected.reason.clone() };
    let joint = if first.what == What::File { " ← " } else { "." };
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{joint}{}{more}", affected.path.join(" ← "), phrase(first).trim_start_matches("file "))
}

/// The changes of an instance itself.
fn changes<'r>(review: &'r Review, instance: &Instance) -> impl Iterator<Item = &'r Change> {
    let name = instance.name.clone();
    let mine = review.stages.iter().find(|d| d.stage == instance.stage);
    mine.into_iter()
        .flat_map(|d| &d.changes)
        .filter(move |c| c.instances.is_empty() || c.instances.contains(&name))
        // The values of other instances of a matrix are not lines of this instance.
        .filter(|c| c.what != What::Matrix)
}

fn explain(name: &str, verdict: &Verdict, all: bool) -> String {
    let lines = verdict.manifest.0.len();
    let mut text = match &verdict.entry {
        Some(entry) => format!(
            "hit  {name}: none of the {} that it depends on has changed since {} UTC, when it took {} on {}\n",
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
