//! Events as lines of JSON: what `pipe run --json` prints and what the log of a run holds. `docs/events.md` describes it.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::event::Event;

/// Raise it when a field changes its meaning or is removed. New events and fields do not raise it: readers skip what they
/// do not know.
pub const VERSION: u32 = 1;

/// Identifies a run among all runs of all machines; ids sort by the time when their runs started.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RunId(String);

impl RunId {
    /// A new id: the current time in UTC to the millisecond, and a random number, as in `20261128-195703.120-5d3c9a1f`.
    pub fn now() -> Self {
        Self::at(SystemTime::now(), random())
    }

    /// The id with this text, such as the name of a log file; None if no run has such an id.
    pub fn parse(text: &str) -> Option<Self> {
        let sample = b"00000000-000000.000-xxxxxxxx";
        let fits = |(byte, sample): (u8, &u8)| match sample {
            b'0' => byte.is_ascii_digit(),
            b'x' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            other => byte == *other,
        };
        let is_id = text.len() == sample.len() && text.bytes().zip(sample).all(fits);
        is_id.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn at(time: SystemTime, random: u32) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (year, month, day) = civil(since.as_secs() / 86_400);
        let (second, millis) = (since.as_secs() % 86_400, since.subsec_millis());
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        Self(format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}.{millis:03}-{random:08x}"))
    }

    /// An event of this run as a line with its newline. `at` is in seconds since 1970. None if the event does not
    /// serialize; every event does.
    pub fn line(&self, at: f64, event: &Event) -> Option<String> {
        let line = Line { v: VERSION, run: self, at, event };
        serde_json::to_string(&line).ok().map(|text| text + "\n")
    }
}

impl TryFrom<String> for RunId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not the id of a run"))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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

/// The current time in seconds since 1970, to the millisecond.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis() as f64 / 1e3
}

/// Each process, and each call in it, gets another number: the standard library seeds its hash tables with it.
fn random() -> u32 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish() as u32
}

/// The year, month and day of a number of days since 1970. Years begin in March, so that the leap day comes last (Howard
/// Hinnant).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
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
            let line = run.line(at, &event).unwrap();
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
        let line = run.line(1.5, &Event::StageInterrupted { stage: "a".into() }).unwrap();
        let parse = |text: &str| Record::parse(text.as_bytes());
        assert_eq!(parse(&line[..line.len() - 3]), None);
        assert_eq!(parse(&line.replace("\"v\":1", "\"v\":2")), None);
        assert_eq!(parse(&line.replace("stage-interrupted", "stage-dreamt")), None);
        assert_eq!(parse(&line.replace("\"run\":\"2", "\"run\":\"../2")), None);
        assert!(parse(&line.replace("\"at\"", "\"later\":[1],\"at\"")).is_some());
    }

    #[test]
    fn ids_sort_by_time_and_differ() {
        let at = |millis| RunId::at(SystemTime::UNIX_EPOCH + Duration::from_millis(millis), 0xbeef);
        assert_eq!(at(1_796_068_623_007).as_str(), "20261130-195703.007-0000beef");
        assert_eq!(at(951_782_400_000).as_str(), "20000229-000000.000-0000beef");
        assert!(at(999) < at(1000) && at(1_796_068_623_007) < at(1_796_068_623_008));
        let ids: std::collections::BTreeSet<RunId> = (0..100).map(|_| RunId::now()).collect();
        assert_eq!(ids.len(), 100);
        for id in ids {
            assert_eq!(RunId::parse(id.as_str()), Some(id));
        }
        for wrong in ["", "../../etc/passwd", "20261128-195703.007-0000BEEF", "20261128-195703.007-0000beefx"] {
            assert_eq!(RunId::parse(wrong), None, "{wrong}");
        }
    }
}
