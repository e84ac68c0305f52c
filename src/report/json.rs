//! Events as lines of JSON on standard output; `docs/events.md` describes the format.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use super::secret;
use pipe_engine::contract::event::{Event, Observer};
use pipe_engine::contract::run_id::RunId;
use pipe_engine::contract::wire;

/// Writes the events of a run to `W`; in `pipe run --json`, to standard output.
pub struct Json<W> {
    out: Mutex<W>,
    id: RunId,
}

impl<W: Write> Json<W> {
    pub fn new(out: W, id: RunId) -> Self {
        Self { out: Mutex::new(out), id }
    }
}

impl<W: Write + Send> Observer for Json<W> {
    fn event(&self, event: &Event) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Events are plain data and always serialize. If the reader has gone away, the run continues without it.
        if let Some(line) = wire::line(&self.id, wire::now(), event) {
            let _ = secret::write(&mut *out, &line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_engine::contract::wire::Record;

    #[test]
    fn one_line_for_each_event_without_secrets() {
        let id = RunId::now();
        let json = Json::new(Vec::new(), id.clone());
        let text = "cannot read https://joe:hunter2@host/x".to_string();
        let events = [Event::Fetching { reference: "hf:a/b".into() }, Event::Warning { stage: None, text }];
        events.iter().for_each(|event| json.event(event));
        let text = String::from_utf8(json.out.into_inner().unwrap()).unwrap();
        let records: Vec<Record> = text.lines().map(|line| Record::parse(line.as_bytes()).unwrap()).collect();
        assert_eq!(records.len(), 2);
        assert!(records.iter().all(|r| r.run == id && r.at > 1.7e9), "{text}");
        assert_eq!(records[0].event, events[0]);
        let text = "cannot read https://***@host/x".to_string();
        assert_eq!(records[1].event, Event::Warning { stage: None, text });
    }
}
