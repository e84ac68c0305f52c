//! `pipe plan`: what `run` would do, and why.

use std::path::{Path, PathBuf};

use crate::cli::context::{Context, File};
use crate::cli::words::machine::machine;
use crate::cli::words::{archive, saved};
use crate::error::Error;
use crate::report::color::{ACTIVE, FAINT, STRONG, WARNING};
use crate::report::table::Table;
use crate::report::{Color, format, line};
use pipe_engine::judge::plan as engine;
use pipe_engine::judge::plan::{Action, Request};
use pipe_engine::judge::project::Project;

/// Show for each stage whether its result is cached, and if not, why it would run.
#[derive(Debug, clap::Args)]
pub struct Plan {
    #[command(flatten)]
    file: File,
    /// Plan only these stages and what they need.
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    /// Plan as if a stage had no result; may be given several times.
    #[arg(long, value_name = "STAGE")]
    force: Vec<String>,
    /// Also write the plan to a file for `run --plan`.
    #[arg(long, short, value_name = "PLAN")]
    out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Exit with code 3 if something would run.
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    archive: archive::Options,
}

impl Plan {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let pipeline = cx.resolve(&self.file)?;
        let mut project = cx.project(Some(&self.file.file))?;
        self.archive.attach(&mut project, None)?;
        // Missing inputs block their stages; the rest of the plan is still useful.
        let prepared = project.prepare(&pipeline, &self.stages, &self.force, cx.build.origins)?;
        let plan = prepared.job().plan(request(&self.file, &project, &self.stages, &self.force))?;
        archive::warn(&project);
        // Save the digests, so that the run need not compute them again.
        let _ = project.stats.save();
        if let Some(path) = &self.out {
            saved::write(path, &plan)?;
        }
        if self.json {
            cx.print_json(&plan)?
        } else {
            print(cx, &plan)?
        }
        prepared.complete()?;
        // A plan does not know the device of the run, so it judges no GPUs.
        if let Some(large) = prepared.job().too_large(&machine(&pipeline, None, usize::MAX))? {
            return Err(large.into());
        }
        if self.exit_code && plan.runs() > 0 { Err(Error::Differences) } else { Ok(()) }
    }
}

/// The command line, as a plan remembers it.
pub fn request(file: &File, project: &Project, stages: &[String], force: &[String]) -> Request {
    let path = std::path::absolute(&file.file).unwrap_or_else(|_| file.file.clone());
    let path = path.strip_prefix(&project.root).map(Path::to_path_buf).unwrap_or(path);
    Request {
        file: path.to_string_lossy().into_owned(),
        profile: file.profile.clone(),
        set: file.set.clone(),
        stages: stages.to_vec(),
        force: force.to_vec(),
    }
}

pub fn print(cx: &mut Context<'_>, plan: &engine::Plan) -> Result<(), Error> {
    let text = render(plan, cx.color);
    cx.print(&text)
}

fn render(plan: &engine::Plan, color: Color) -> String {
    let profile = plan.profile.as_ref().map(|p| format!(" (profile {p})")).unwrap_or_default();
    // A stage without an earlier result cannot turn out unchanged.
    let stoppable = plan.stages.iter().filter(|s| s.action == Action::MayStop && s.seconds.is_some()).count();
    let (fetches, bytes) = plan.fetches();
    let mut counts = vec![
        format::plural(plan.stages.len(), "stage"),
        format!("{} cached", format::count((plan.count(Action::Hit) - fetches) as u64)),
    ];
    counts.extend((fetches > 0).then(|| format!("{fetches} in the archive ({} to fetch)", format::bytes(bytes))));
    counts.push(match stoppable {
        0 => format!("{} to run", format::count(plan.runs() as u64)),
        n => format!("{} to run ({} may stop early)", format::count(plan.runs() as u64), format::count(n as u64)),
    });
    let blocked = plan.count(Action::Blocked);
    counts.extend((blocked > 0).then(|| format!("{} blocked", format::count(blocked as u64))));
    counts.extend(plan.seconds().map(|s| format!("about {}", format::duration(s))));
    let mut table = Table::new(["", "", "", ">"]).indent(2);
    for stage in &plan.stages {
        let (word, seconds) = match stage.action {
            Action::Hit => ("hit", None),
            Action::Run | Action::MayStop => ("run", stage.seconds),
            Action::Blocked => ("blocked", None),
        };
        table.row([
            word.to_string(),
            stage.stage.clone(),
            match stage.fetch {
                Some(bytes) => format!("{}, {} to fetch", line::reasons(&stage.why), format::bytes(bytes)),
                None => [trials(stage), line::reasons(&stage.why)]
                    .into_iter()
                    .filter(|s| !s.is_empty())
                    .collect::<Vec<_>>()
                    .join("; "),
            },
            seconds.map(format::duration).unwrap_or_default(),
        ]);
    }
    let mut text = format!("{} {}{profile}: {}\n", color.paint(STRONG, "plan"), plan.pipeline, counts.join(", "));
    for row in table.render().split_inclusive('\n') {
        // Colours come after alignment: escape codes have no width.
        let row = row.trim_start();
        let (word, rest) = row.split_at(row.find(' ').unwrap_or(row.len()));
        let style = match word {
            "hit" => FAINT,
            "blocked" => WARNING,
            _ => ACTIVE,
        };
        text.push_str(&format!("  {}{rest}", color.paint(style, word)));
    }
    text
}

/// `15 trials × about 4m, 3 known`.
fn trials(stage: &engine::Planned) -> String {
    let Some(trials) = &stage.trials else { return String::new() };
    let each = trials.seconds.map(|each| format!(" × about {}", format::duration(each))).unwrap_or_default();
    let known = if trials.known > 0 { format!(", {} known", trials.known) } else { String::new() };
    format!("{}{each}{known}", format::plural(trials.total, "trial"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_engine::judge::plan::{Planned, VERSION};
    use pipe_engine::store::manifest::Manifest;

    fn plan() -> engine::Plan {
        let stage = |name: &str, action, why: &[&str], seconds| Planned {
            stage: name.into(),
            kind: "x".into(),
            action,
            why: why.iter().map(|w| w.to_string()).collect(),
            fetch: None,
            seconds,
            trials: None,
            fingerprint: None,
            depends_on: Manifest::default(),
            open: Vec::new(),
            inputs: Manifest::default(),
        };
        let stages = vec![
            stage("corpus", Action::Hit, &[], Some(3.0)),
            stage("teacher", Action::Run, &["learning-rate 0.0005 → 0.0003"], Some(70.0)),
            stage("scores[teacher]", Action::MayStop, &["in.model: teacher will change"], Some(4.0)),
            stage("comparison", Action::Run, &["no result yet"], None),
            stage("extra", Action::Blocked, &["`x.csv` does not exist"], Some(1.0)),
        ];
        let request = Request { file: "p.toml".into(), ..Request::default() };
        engine::Plan {
            version: VERSION,
            request,
            pipeline: "roberta-full".into(),
            profile: Some("full".into()),
            source: None,
            stages,
        }
    }

    #[test]
    fn as_the_style_page_shows_it() {
        assert_eq!(
            render(&plan(), Color::Never),
            "\
plan roberta-full (profile full): 5 stages, 1 cached, 3 to run (1 may stop early), 1 blocked, about 1m 14s
  hit      corpus
  run      teacher          learning-rate 0.0005 → 0.0003  1m 10s
  run      scores[teacher]  in.model: teacher will change    4.0s
  run      comparison       no result yet
  blocked  extra            `x.csv` does not exist
"
        );
        assert_eq!(
            anstream::adapter::strip_str(&render(&plan(), Color::Always)).to_string(),
            render(&plan(), Color::Never)
        );
    }

    #[test]
    fn a_hit_that_only_the_archive_has_says_how_much_there_is_to_fetch() {
        let mut plan = engine::Plan { stages: plan().stages.drain(..2).collect(), profile: None, ..plan() };
        (plan.stages[0].why, plan.stages[0].fetch) = (vec!["in the archive".into()], Some(1_200_000_000));
        assert_eq!(
            render(&plan, Color::Never),
            "\
plan roberta-full: 2 stages, 0 cached, 1 in the archive (1.2 GB to fetch), 1 to run, about 1m 10s
  hit  corpus   in the archive, 1.2 GB to fetch
  run  teacher  learning-rate 0.0005 → 0.0003    1m 10s
"
        );
    }

    #[test]
    fn nothing_to_do() {
        let plan = engine::Plan { stages: plan().stages.drain(..1).collect(), profile: None, ..plan() };
        assert_eq!(render(&plan, Color::Never), "plan roberta-full: 1 stage, 1 cached, 0 to run\n  hit  corpus\n");
    }
}
