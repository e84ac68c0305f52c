//! Events as lines of JSON: what `pipe run --json` prints and what the log of a run holds. `docs/events.md` describes it.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::run_id::RunId;

/// Raise it when a field changes its meaning or is removed. New events and fields do not raise it: readers skip what they
/// do not know.
pub const VERSION: u32 = 1;

/// One event on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the format.
    pub v: u32,
    pub run: RunId,
    /// When it happened: seconds since 1970, to the millisecond.
    pub at: f64,
    /// Its fields stand beside `v`, `run` and `at`, and its name is `event`.
    #[serde(flatten)]
    pub event: Event,
}

/// As [`Record`], borrowed.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    run: &'a RunId,
    at: f64,
    #[serde(flatten)]
    event: &'a Event,
}

impl Record {
    /// Read one line. None if it is torn, of a newer version or of an event that this program does not know: readers skip
    /// such lines.
    pub fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok().filter(|record: &Self| record.v == VERSION)
    }
}

/// An event of a run as a line with its newline. `at` is in seconds since 1970. None if the event does not serialize; every
/// event does.
pub fn line(run: &RunId, at: f64, event: &Event) -> Option<String> {
    let line = Line { v: VERSION, run, at, event };
    serde_json::to_string(&line).ok().map(|text| text + "\n")
}

/// The current time in seconds since 1970, to the millisecond.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::contract::event::{Outcome, StageInfo};
    use crate::contract::measured::{Kept, Measured};
    use crate::contract::progress::Progress;

    /// One of each event, with and without what is optional.
    fn events() -> Vec<Event> {
        let text = |text: &str| text.to_string();
        let inputs = BTreeMap::from([(text("models"), vec![text("b"), text("c[x=1]")])]);
        let stages = vec![
            StageInfo { name: text("a"), kind: text("train"), inputs, parent: None },
            StageInfo { name: text("b"), kind: text("write"), parent: Some(text("a")), ..StageInfo::default() },
        ];
        let progress = Progress {
            done: u64::MAX,
            total: 9,
            unit: text("step"),
            epoch: Some((1, 3)),
            loss: Some(0.1 + 0.2),
            learning_rate: Some(3e-5),
            rate: Some(1e300),
            padding: Some(0.0),
        };
        let measured = Measured {
            step: 113,
            total: 1130,
            epoch: Some(2.5),
            epochs: Some(10),
            every: Some(7),
            values: BTreeMap::from([(text("loss"), 1.0 / 3.0), (text("f1[\"ü\"]"), 1.0)]),
            metric: Some(text("macro-f1")),
            best: true,
            kept: Some(Kept { step: 113, epoch: 2.5, value: 0.87 }),
            stale: 0,
            patience: Some(3),
        };
        let outcome = Outcome { hits: 1, ran: 2, failed: 3, blocked: 4, interrupted: true, seconds: 0.012 };
        vec![
            Event::RunStarted { id: RunId::now(), pipeline: text("p"), profile: Some(text("full")), jobs: 2, stages },
            Event::RunStarted { id: RunId::now(), pipeline: text("p"), profile: None, jobs: 1, stages: Vec::new() },
            Event::Fetching { reference: text("hf:a/b") },
            Event::Fetched { reference: text("hf:a/b"), identity: None },
            Event::StageHit { stage: text("a"), fingerprint: text("3f"), seconds: 1.0 },
            Event::StageStarted { stage: text("a"), fingerprint: text("3f"), why: vec![text("new")] },
            Event::TrialsStarted {
                parent: text("a"),
                stages: vec![StageInfo { parent: Some(text("a")), ..StageInfo::default() }],
            },
            Event::StageWaiting { stage: text("a"), fingerprint: text("3f") },
            Event::Progress { stage: text("a"), progress },
            Event::Progress { stage: text("a"), progress: Progress::default() },
            Event::Measured { stage: text("a"), measured },
            Event::Measured { stage: text("a"), measured: Measured::default() },
            Event::Note { stage: text("a"), text: text("two\nlines \u{1b}") },
            Event::Warning { stage: Some(text("a")), text: text("x") },
            Event::Warning { stage: None, text: text("x") },
            Event::StageDone {
                stage: text("a"),
                fingerprint: text("3f"),
                seconds: 9.5,
                unchanged: true,
                facts: BTreeMap::from([(text("macro-f1"), 0.1)]),
            },
            Event::StageFailed { stage: text("a"), error: text("no"), seconds: 0.0 },
            Event::StageBlocked { stage: text("b"), because: text("a") },
            Event::StageInterrupted { stage: text("a") },
            Event::NotCached { stage: text("a"), reason: text("x") },
            Event::Damaged { stage: text("a"), file: text("f"), aside: None },
            Event::Exported { stage: text("a"), path: text("out") },
            Event::RunFinished { outcome },
        ]
    }

    #[test]
    fn every_event_is_one_line_and_is_read_back_the_same() {
        let (run, at) = (RunId::now(), now());
        for event in events() {
            let line = line(&run, at, &event).unwrap();
            assert!(line.ends_with('\n') && line.lines().count() == 1, "{line}");
            assert!(line.starts_with(&format!("{{\"v\":1,\"run\":\"{run}\",\"at\":{at:?},\"event\":\"")), "{line}");
            assert_eq!(Record::parse(line.as_bytes()).unwrap(), Record { v: 1, run: run.clone(), at, event }, "{line}");
        }
    }

    #[test]
    fn the_documentation_names_every_event_and_field() {
        let page = include_str!("../../../docs/events.md");
        let names = |value: &serde_json::Value| {
            let names = value.as_object().into_iter().flatten().map(|(name, _)| name.clone());
            names.collect::<Vec<_>>()
        };
        let mut missing = Vec::new();
        for event in events() {
            let value = serde_json::to_value(&event).unwrap();
            let nested = ["progress", "measured", "outcome"].map(|key| names(&value[key])).concat();
            let stages = value["stages"].as_array().into_iter().flatten().flat_map(names);
            let stages = stages.map(|name| if name == "name" { "stages[].name".into() } else { format!(".{name}") });
            let event = value["event"].as_str().unwrap().to_string();
            for name in names(&value).into_iter().chain(nested).chain(stages).chain([event]) {
                let written = [format!("`{name}`"), format!("`{name}?`"), format!("`{name}[]`")];
                let is_stages = name.starts_with('.') && page.contains(&format!("stages[]{name}"));
                if !is_stages && !written.iter().any(|text| page.contains(text)) {
                    missing.push(name);
                }
            }
        }
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn readers_skip_torn_newer_and_unknown_lines_and_unknown_fields() {
        let run = RunId::now();
        let line = line(&run, 1.5, &Event::StageInterrupted { stage: "a".into() }).unwrap();
        let parse = |text: &str| Record::parse(text.as_bytes());
        assert_eq!(parse(&line[..line.len() - 3]), None);
        assert_eq!(parse(&line.replace("\"v\":1", "\"v\":2")), None);
        assert_eq!(parse(&line.replace("stage-interrupted", "stage-dreamt")), None);
        assert_eq!(parse(&line.replace("\"run\":\"2", "\"run\":\"../2")), None);
        assert!(parse(&line.replace("\"at\"", "\"later\":[1],\"at\"")).is_some());
    }
}
