//! `pipe history`: the runs of a project.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::words::database::{database, pipeline_name};
use crate::error::Error;
use crate::report::format;
use crate::report::table::Table;
use pipe_engine::judge::history::{HistoryError, RunRecord};

/// List past runs, newest first.
#[derive(Debug, clap::Args)]
pub struct History {
    /// Show only runs of this pipeline file.
    file: Option<PathBuf>,
    /// How many runs to show.
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    limit: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl History {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let pipeline = pipeline_name(cx, self.file.as_ref())?;
        let project = cx.project(self.file.as_deref())?;
        let runs = database(&project)?.runs(pipeline.as_deref(), self.limit)?;
        if self.json { cx.print_json(&runs) } else { cx.print(&render(&runs)) }
    }
}

impl From<HistoryError> for Error {
    fn from(error: HistoryError) -> Self {
        Self::failed(format!("cannot read the run database: {error}"))
            .help("no result depends on it: delete history.sqlite in the cache folder to start a new one")
    }
}

fn render(runs: &[RunRecord]) -> String {
    if runs.is_empty() {
        return "no runs yet\n".into();
    }
    let mut table = Table::new([
        ">run",
        "started (UTC)",
        "pipeline",
        "profile",
        "ended",
        ">cached",
        ">run",
        ">failed",
        ">took",
        "id",
    ]);
    for run in runs {
        let mut cells = vec![
            run.id.to_string(),
            format::moment(run.started as f64),
            run.pipeline.clone(),
            run.profile.clone().unwrap_or_default(),
        ];
        match &run.outcome {
            None => cells.extend(["unfinished", "", "", "", ""].map(str::to_owned)),
            Some(o) => {
                let word = if o.interrupted {
                    "interrupted"
                } else if o.failed > 0 {
                    "failed"
                } else {
                    "done"
                };
                cells.extend([
                    word.into(),
                    o.hits.to_string(),
                    o.ran.to_string(),
                    o.failed.to_string(),
                    format::duration(o.seconds),
                ]);
            }
        }
        cells.extend(run.run.clone());
        table.row(cells);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_engine::contract::event::Outcome;

    #[test]
    fn a_row_for_each_run() {
        let run = |id, outcome| {
            let run = (id > 1).then(|| format!("20260131-090500.000-0000000{id}"));
            RunRecord { id, run, pipeline: "p".into(), profile: None, started: 1_769_850_300, outcome }
        };
        let done = Outcome { hits: 4, ran: 5, seconds: 112.0, ..Outcome::default() };
        let failed = Outcome { failed: 1, ..done.clone() };
        let text = render(&[run(3, None), run(2, Some(failed)), run(1, Some(done))]);
        assert_eq!(
            text,
            "\
run  started (UTC)     pipeline  profile  ended       cached  run  failed    took  id
  3  2026-01-31 09:05  p                  unfinished                               20260131-090500.000-00000003
  2  2026-01-31 09:05  p                  failed           4    5       1  1m 52s  20260131-090500.000-00000002
  1  2026-01-31 09:05  p                  done             4    5       0  1m 52s
"
        );
        assert_eq!(render(&[]), "no runs yet\n");
    }
}
