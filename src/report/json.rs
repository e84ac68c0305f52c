//! Events as JSON, one object per line on standard output.
//!
//! Every object has `event` (a name such as `stage-done`) and `elapsed` (seconds since the first event). The first
//! event,
//! `run-started`, also has `version`, the version of this format. It is raised when a field changes its meaning or is
//! removed. Fields and events may be added without a new version: readers must skip what they do not know.
//!
//! ```json
//! {"version":1,"elapsed":0.0,"event":"run-started","pipeline":"x","profile":null,"stages":[{"name":"a","kind":"train"}],"jobs":2}
//! {"elapsed":0.012,"event":"stage-started","stage":"a","fingerprint":"3f…","why":["new"]}
//! {"elapsed":1.5,"event":"progress","stage":"a","progress":{"done":3,"total":9,"unit":"step","loss":0.7}}
//! {"elapsed":9.1,"event":"stage-done","stage":"a","fingerprint":"3f…","seconds":9.0,"unchanged":false,"facts":[["loss",0.4]]}
//! {"elapsed":9.1,"event":"run-finished","outcome":{"hits":0,"ran":1,"failed":0,"blocked":0,"interrupted":false,"seconds":9.1}}
//! ```

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::secret;
use pipe_engine::contract::event::{Event, Observer};

/// Raise it when a field changes its meaning or is removed.
pub const VERSION: u32 = 1;

/// Writes events to `W`; in a run, to standard output.
pub struct Json<W>(Mutex<State<W>>);

struct State<W> {
    out: W,
    start: Option<Instant>,
}

#[derive(Serialize)]
struct Record<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    elapsed: f64,
    #[serde(flatten)]
    event: &'a Event,
}

impl<W: Write> Json<W> {
    pub fn new(out: W) -> Self {
        Self(Mutex::new(State { out, start: None }))
    }
}

impl<W: Write + Send> Observer for Json<W> {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).event(event, Instant::now());
    }
}

impl<W: Write> State<W> {
    fn event(&mut self, event: &Event, now: Instant) {
        let elapsed = (now - *self.start.get_or_insert(now)).as_millis() as f64 / 1e3;
        let version = matches!(event, Event::RunStarted { .. }).then_some(VERSION);
        // Events are plain data and always serialize. If the reader has gone away, the run continues without it.
        if let Ok(text) = serde_json::to_string(&Record { version, elapsed, event }) {
            let _ = secret::write(&mut self.out, &(text + "\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use pipe_engine::contract::event::{Outcome, StageInfo};
    use pipe_engine::contract::progress::Progress;

    #[test]
    fn one_object_a_line_and_the_version_first() {
        let start = Instant::now();
        let mut state = State { out: Vec::new(), start: None };
        let stages = vec![StageInfo { name: "a".into(), kind: "train".into() }];
        let progress = Progress {
            done: 3,
            total: 9,
            unit: "step".into(),
            learning_rate: Some(0.5),
            loss: Some(f64::NAN),
            ..Progress::default()
        };
        let facts = vec![("macro-f1".to_string(), 0.842)];
        let events = [
            Event::RunStarted { pipeline: "x".into(), profile: None, stages, jobs: 2 },
            Event::Progress { stage: "a".into(), progress },
            Event::StageDone { stage: "a".into(), fingerprint: "3f".into(), seconds: 1.5, unchanged: true, facts },
            Event::RunFinished { outcome: Outcome { ran: 1, seconds: 1.5, ..Outcome::default() } },
        ];
        for (i, event) in events.iter().enumerate() {
            state.event(event, start + Duration::from_millis(500 * i as u64));
        }
        assert_eq!(
            String::from_utf8(state.out).unwrap(),
            r#"{"version":1,"elapsed":0.0,"event":"run-started","pipeline":"x","profile":null,"stages":[{"name":"a","kind":"train"}],"jobs":2}
{"elapsed":0.5,"event":"progress","stage":"a","progress":{"done":3,"total":9,"unit":"step","loss":null,"learning-rate":0.5}}
{"elapsed":1.0,"event":"stage-done","stage":"a","fingerprint":"3f","seconds":1.5,"unchanged":true,"facts":[["macro-f1",0.842]]}
{"elapsed":1.5,"event":"run-finished","outcome":{"hits":0,"ran":1,"failed":0,"blocked":0,"interrupted":false,"seconds":1.5}}
"#
        );
    }
}
