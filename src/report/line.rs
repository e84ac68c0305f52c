//! Formats one line for each event, for the plain and the live reporter.
//!
//! `word stage  text`: `hit` (from the cache), `run`, `done`, `fail`, `skip` (blocked), `stop` (interrupted), `wait`
//! (another process makes it), `note` (also an evaluation), `warn`, `at` (progress), `get` and `got` (a download), `out` (an
//! export).

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::color::{ACTIVE, Color, ERROR, FAINT, GOOD, HELP, STRONG, WARNING};
use super::evaluation::evaluation;
use super::format;
use pipe_engine::contract::event::{Event, Outcome};
use pipe_engine::contract::progress::Progress;

/// The widest stage column; a wider one would leave no room for the rest. Longer names stick out.
const WIDEST: usize = 32;

/// How many reasons are shown on a line; `pipe why` shows all.
const REASONS: usize = 3;

/// Formats events as lines; remembers the column width and the stages that failed or stopped.
#[derive(Debug)]
pub struct Lines {
    color: Color,
    width: usize,
    failed: Vec<String>,
    stopped: Vec<String>,
}

impl Lines {
    pub fn new(color: Color) -> Self {
        Self { color, width: 0, failed: Vec::new(), stopped: Vec::new() }
    }

    pub fn color(&self) -> Color {
        self.color
    }

    /// Width of the stage column.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The line for an event, without a final newline; None for progress.
    pub fn event(&mut self, event: &Event) -> Option<String> {
        Some(match event {
            Event::RunStarted { pipeline, profile, stages, jobs, .. } => {
                self.width = stages.iter().map(|s| s.name.width()).max().unwrap_or(0).min(WIDEST);
                let profile = profile.as_ref().map(|p| format!(" (profile {p})")).unwrap_or_default();
                let jobs = if *jobs > 1 { format!(", {jobs} at a time") } else { String::new() };
                format!(
                    "{} {pipeline}{profile}: {}{jobs}",
                    self.color.paint(STRONG, "run"),
                    format::plural(stages.len(), "stage")
                )
            }
            Event::Fetching { reference } => self.line(ACTIVE, "get", reference, ""),
            Event::Fetched { reference, identity } => {
                self.line(GOOD, "got", reference, identity.as_deref().unwrap_or(""))
            }
            Event::StageHit { stage, .. } => self.line(FAINT, "hit", stage, ""),
            Event::StageStarted { stage, why, .. } => self.line(ACTIVE, "run", stage, &reasons(why)),
            // Each of the stages reports itself, as `teacher[trial=3]`.
            Event::TrialsStarted { .. } => return None,
            Event::StageWaiting { stage, .. } => {
                self.line(FAINT, "wait", stage, "another process is making this result")
            }
            Event::Progress { .. } => return None,
            Event::Measured { stage, measured } => self.line(FAINT, "note", stage, &evaluation(measured)),
            Event::Note { stage, text } => self.line(FAINT, "note", stage, text),
            Event::Warning { stage: Some(stage), text } => self.line(WARNING, "warn", stage, text),
            Event::Warning { stage: None, text } => format!("{} {text}", self.color.paint(WARNING, "warning:")),
            Event::StageDone { stage, seconds, unchanged, facts, .. } => {
                let mut parts = vec![format::duration(*seconds)];
                parts.extend(unchanged.then(|| "same result as before".to_string()));
                let (shown, more) = format::facts(facts);
                parts.extend(shown);
                parts.extend(more.then(|| "…".to_string()));
                self.line(GOOD, "done", stage, &parts.join("  "))
            }
            Event::StageFailed { stage, error, seconds } => {
                self.failed.push(stage.clone());
                self.line(ERROR, "fail", stage, &format!("{}  {error}", format::duration(*seconds)))
            }
            // After an interruption, the last line gives the number of stages that did not run.
            Event::StageBlocked { because, .. } if self.stopped.contains(because) => return None,
            Event::StageBlocked { stage, because } => {
                self.line(WARNING, "skip", stage, &format!("blocked by {because}"))
            }
            Event::StageInterrupted { stage } => {
                self.stopped.push(stage.clone());
                self.line(WARNING, "stop", stage, "interrupted")
            }
            Event::NotCached { stage, reason } => {
                self.line(WARNING, "warn", stage, &format!("the result was discarded: {reason}"))
            }
            Event::Damaged { stage, file, aside } => {
                let what = match aside {
                    Some(aside) => format!("is damaged and was moved to {aside}"),
                    None => "is missing".into(),
                };
                self.line(WARNING, "warn", stage, &format!("{file} {what}; the stage runs again"))
            }
            Event::Exported { stage, path } => self.line(GOOD, "out", stage, path),
            Event::RunFinished { outcome } => self.finish(outcome),
        })
    }

    /// A progress line for logs.
    pub fn progress(&self, stage: &str, progress: &Progress, left: Option<f64>) -> String {
        let texts: Vec<String> = parts(progress, left).into_iter().map(|p| p.text).collect();
        self.line(FAINT, "at", stage, &texts.join("  "))
    }

    fn line(&self, style: Style, word: &str, stage: &str, text: &str) -> String {
        let head = format!("{} {stage}", self.color.paint(style, &format!("{word:<4}")));
        if text.is_empty() {
            return head;
        }
        let pad = " ".repeat(self.width.saturating_sub(stage.width()));
        // Indent the further lines of a text.
        let under = format!("\n{}", " ".repeat(5 + self.width + 2));
        format!("{head}{pad}  {}", text.trim_end().replace('\n', &under))
    }

    fn finish(&self, outcome: &Outcome) -> String {
        let Outcome { hits, ran, failed, blocked, interrupted, seconds } = outcome;
        let (style, word) = match (interrupted, failed) {
            (true, _) => (WARNING, "interrupted:"),
            (false, 0) => (GOOD, "done:"),
            (false, _) => (ERROR, "failed:"),
        };
        let mut counts = vec![format!("{hits} cached"), format!("{ran} run")];
        counts.extend((*failed > 0).then(|| format!("{failed} failed")));
        counts.extend((!self.stopped.is_empty()).then(|| format!("{} stopped", self.stopped.len())));
        let word_for_rest = if *interrupted { "to do" } else { "blocked" };
        counts.extend((*blocked > 0).then(|| format!("{blocked} {word_for_rest}")));
        let mut text =
            format!("{} {} in {}", self.color.paint(style, word), counts.join(", "), format::duration(*seconds));
        if let Some(help) = self.next_step(outcome) {
            text.push_str(&format!("\n{} {help}", self.color.paint(HELP, "help:")));
        }
        text
    }

    fn next_step(&self, outcome: &Outcome) -> Option<String> {
        if outcome.interrupted {
            Some(match self.stopped.as_slice() {
                [] => "run the same command again to continue".into(),
                stopped => format!(
                    "run the same command again to continue with {}, from the last checkpoint if there is one",
                    stopped.join(", ")
                ),
            })
        } else if outcome.failed > 0 {
            Some(match self.failed.as_slice() {
                [] => "finished stages are cached; the next run starts where this one failed".into(),
                failed => format!("finished stages are cached; the next run starts at {}", failed.join(", ")),
            })
        } else {
            None
        }
    }
}

/// The reasons of a stage to run, as a phrase.
pub fn reasons(why: &[String]) -> String {
    let mut text = why.iter().take(REASONS).cloned().collect::<Vec<_>>().join(", ");
    if why.len() > REASONS {
        text.push_str(&format!(" and {} more", why.len() - REASONS));
    }
    text
}

/// A part of a progress line; if space is short, the part with the highest `rank` is left out first.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    pub rank: u8,
    pub text: String,
}

/// The parts of a progress line, in reading order.
pub fn parts(progress: &Progress, left: Option<f64>) -> Vec<Part> {
    let Progress { done, total, unit, epoch, loss, learning_rate, rate, padding } = progress;
    let (number, unit): (fn(u64) -> String, _) = match unit.as_str() {
        // Formatted bytes include the unit.
        "byte" => (format::bytes, String::new()),
        unit => (format::count, format!("{unit} ")),
    };
    let counted = match total {
        0 => format!("{unit}{}", number(*done)),
        _ => {
            // Pad to the final width, so that the following parts do not move.
            let (done, total) = (number(*done), number(*total));
            format!("{unit}{done:>width$}/{total}", width = total.len())
        }
    };
    let all = [
        (0, Some(counted)),
        (2, epoch.map(|(at, of)| format!("epoch {at}/{of}"))),
        (3, loss.map(|l| format!("loss {l:.4}"))),
        (5, learning_rate.map(|lr| format!("lr {}", format::scientific(lr)))),
        (4, rate.map(format::rate)),
        (6, padding.map(|p| format!("padding {}", format::percent(p)))),
        (1, left.map(|s| format!("{} left", format::duration(s.max(1.0).round())))),
    ];
    all.into_iter().filter_map(|(rank, text)| text.map(|text| Part { rank, text })).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use pipe_engine::contract::event::StageInfo;
    use pipe_engine::contract::measured::Measured;
    use pipe_engine::contract::run_id::RunId;

    fn started(names: &[&str]) -> Event {
        let stage = |name: &&str| StageInfo { name: name.to_string(), kind: "train".into(), ..StageInfo::default() };
        let (id, pipeline, stages) = (RunId::now(), "roberta-full".into(), names.iter().map(stage).collect());
        Event::RunStarted { id, pipeline, profile: None, jobs: 1, stages }
    }

    fn lines_of(events: &[Event]) -> String {
        let mut lines = Lines::new(Color::Never);
        events.iter().filter_map(|e| lines.event(e)).map(|l| l + "\n").collect()
    }

    fn s(text: &str) -> String {
        text.to_string()
    }

    fn outcome() -> Outcome {
        Outcome { hits: 4, ran: 5, seconds: 112.0, ..Outcome::default() }
    }

    #[test]
    fn a_run_from_start_to_end() {
        let stage = |name| StageInfo { name: s(name), kind: s("x"), ..StageInfo::default() };
        let stages = ["corpus", "teacher", "comparison"].map(stage).to_vec();
        let (id, pipeline, profile) = (RunId::now(), s("roberta-full"), Some(s("full")));
        let text = lines_of(&[
            Event::RunStarted { id, pipeline, profile, jobs: 2, stages },
            Event::Fetching { reference: s("hf:a/b") },
            Event::Fetched { reference: s("hf:a/b"), identity: Some(s("0123abc")) },
            Event::StageHit { stage: s("corpus"), fingerprint: s("f"), seconds: 4.0 },
            Event::StageStarted {
                stage: s("teacher"),
                fingerprint: s("f"),
                why: vec![s("learning-rate 0.0005 → 0.0003")],
            },
            Event::Note { stage: s("teacher"), text: s("best epoch 3") },
            Event::Warning { stage: Some(s("teacher")), text: s("the head does not fit\nit starts untrained") },
            Event::Warning { stage: None, text: s("no GPU found") },
            Event::Measured { stage: s("teacher"), measured: Measured::default() },
            Event::Progress { stage: s("teacher"), progress: Progress::default() },
            Event::StageDone {
                stage: s("teacher"),
                fingerprint: s("f"),
                seconds: 72.0,
                unchanged: false,
                facts: [(s("macro-f1"), 0.842), (s("samples-per-second"), 412.3)].into(),
            },
            Event::StageStarted { stage: s("comparison"), fingerprint: s("f"), why: vec![] },
            Event::StageDone {
                stage: s("comparison"),
                fingerprint: s("f"),
                seconds: 0.038,
                unchanged: true,
                facts: BTreeMap::new(),
            },
            Event::Exported { stage: s("comparison"), path: s("out/roberta-full") },
            Event::RunFinished { outcome: outcome() },
        ]);
        assert_eq!(
            text,
            "\
run roberta-full (profile full): 3 stages, 2 at a time
get  hf:a/b
got  hf:a/b      0123abc
hit  corpus
run  teacher     learning-rate 0.0005 → 0.0003
note teacher     best epoch 3
warn teacher     the head does not fit
                 it starts untrained
warning: no GPU found
note teacher     step 0/0
done teacher     1m 12s  macro-f1 0.842  samples-per-second 412/s
run  comparison
done comparison  38ms  same result as before
out  comparison  out/roberta-full
done: 4 cached, 5 run in 1m 52s
"
        );
    }

    #[test]
    fn a_failed_run_says_where_the_next_one_starts() {
        let text = lines_of(&[
            started(&["int8", "scores"]),
            Event::StageFailed {
                stage: s("int8"),
                error: s("cannot write /x/y\nno space left on device"),
                seconds: 4.2,
            },
            Event::StageBlocked { stage: s("scores"), because: s("int8") },
            Event::RunFinished { outcome: Outcome { ran: 3, failed: 1, blocked: 1, ..outcome() } },
        ]);
        assert_eq!(
            text,
            "\
run roberta-full: 2 stages
fail int8    4.2s  cannot write /x/y
             no space left on device
skip scores  blocked by int8
failed: 4 cached, 3 run, 1 failed, 1 blocked in 1m 52s
help: finished stages are cached; the next run starts at int8
"
        );
    }

    #[test]
    fn an_interrupted_run_says_how_to_continue() {
        let text = lines_of(&[
            started(&["teacher"]),
            Event::StageWaiting { stage: s("teacher"), fingerprint: s("f") },
            Event::StageInterrupted { stage: s("teacher") },
            Event::StageBlocked { stage: s("pruned"), because: s("teacher") },
            Event::RunFinished { outcome: Outcome { ran: 1, blocked: 1, interrupted: true, ..outcome() } },
        ]);
        assert_eq!(
            text,
            "\
run roberta-full: 1 stage
wait teacher  another process is making this result
stop teacher  interrupted
interrupted: 4 cached, 1 run, 1 stopped, 1 to do in 1m 52s
help: run the same command again to continue with teacher, from the last checkpoint if there is one
"
        );
    }

    #[test]
    fn trouble_with_the_cache() {
        let text = lines_of(&[
            started(&["a"]),
            Event::NotCached { stage: s("a"), reason: s("data.csv changed while the stage ran") },
            Event::Damaged { stage: s("a"), file: s("objects/ab/cd"), aside: Some(s("damaged/cd")) },
            Event::Damaged { stage: s("a"), file: s("objects/ab/cd"), aside: None },
        ]);
        assert_eq!(
            text,
            "\
run roberta-full: 1 stage
warn a  the result was discarded: data.csv changed while the stage ran
warn a  objects/ab/cd is damaged and was moved to damaged/cd; the stage runs again
warn a  objects/ab/cd is missing; the stage runs again
"
        );
    }

    #[test]
    fn many_reasons_and_facts_are_cut() {
        let why = ["a", "b", "c", "d", "e"].map(s).to_vec();
        let facts = (0..7).map(|i| (format!("f{i}"), 0.5)).collect();
        let text = lines_of(&[
            Event::StageStarted { stage: s("a"), fingerprint: s("f"), why },
            Event::StageDone { stage: s("a"), fingerprint: s("f"), seconds: 1.0, unchanged: false, facts },
        ]);
        assert_eq!(
            text,
            "run  a  a, b, c and 2 more\ndone a  1.0s  f0 0.500  f1 0.500  f2 0.500  f3 0.500  f4 0.500  …\n"
        );
    }

    #[test]
    fn progress_shows_only_known_parts() {
        let lines = Lines::new(Color::Never);
        let mut progress = Progress { done: 420, total: 1500, unit: s("step"), ..Progress::default() };
        assert_eq!(lines.progress("teacher", &progress, None), "at   teacher  step   420/1,500");
        progress = Progress {
            epoch: Some((2, 3)),
            loss: Some(0.41234),
            learning_rate: Some(3e-4),
            rate: Some(411.7),
            padding: Some(0.081),
            ..progress
        };
        assert_eq!(
            lines.progress("teacher", &progress, Some(70.2)),
            "at   teacher  step   420/1,500  epoch 2/3  loss 0.4123  lr 3e-4  412/s  padding 8%  1m 10s left"
        );
        progress = Progress { done: 41_157, unit: s("row"), ..Progress::default() };
        assert_eq!(lines.progress("corpus", &progress, None), "at   corpus  row 41,157");
        progress = Progress { done: 42_000_000, total: 498_600_000, unit: s("byte"), ..Progress::default() };
        assert_eq!(lines.progress("hf:a/b", &progress, None), "at   hf:a/b   42.0 MB/498.6 MB");
    }

    #[test]
    fn only_the_first_word_is_coloured() {
        let mut lines = Lines::new(Color::Always);
        let hit = Event::StageHit { stage: s("a"), fingerprint: s("f"), seconds: 1.0 };
        assert_eq!(lines.event(&hit).unwrap(), "\u{1b}[2mhit \u{1b}[0m a");
    }
}
