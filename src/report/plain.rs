//! Prints one stable line per event: for logs, pipes and continuous integration.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::color::Color;
use super::line::Lines;
use super::pace::Pace;
use super::secret;
use pipe_engine::contract::event::{Event, Observer};

/// Often enough to tell a hung job from a slow one; the log of an hour's training stays short.
const PROGRESS_EVERY: Duration = Duration::from_secs(30);

/// Writes lines to `W`; in a run, to standard error.
pub struct Plain<W>(Mutex<State<W>>);

struct State<W> {
    out: W,
    lines: Lines,
    running: HashMap<String, (Pace, Instant)>,
}

impl<W: Write> Plain<W> {
    pub fn new(out: W, color: Color) -> Self {
        Self(Mutex::new(State { out, lines: Lines::new(color), running: HashMap::new() }))
    }
}

impl<W: Write + Send> Observer for Plain<W> {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).event(event, Instant::now());
    }
}

impl<W: Write> State<W> {
    fn event(&mut self, event: &Event, now: Instant) {
        let text = match event {
            Event::Progress { stage, progress } => {
                let (pace, reported) =
                    self.running.entry(stage.clone()).or_insert_with(|| (Pace::new(progress, now), now));
                pace.update(progress, now);
                if now - *reported < PROGRESS_EVERY {
                    return;
                }
                *reported = now;
                let left = pace.left(now);
                Some(self.lines.progress(stage, progress, left))
            }
            _ => self.lines.event(event),
        };
        if let Some(text) = text {
            // Ignore write errors: the reader has gone away.
            let _ = secret::write(&mut self.out, &(text + "\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_engine::contract::progress::Progress;

    #[test]
    fn progress_is_printed_twice_a_minute() {
        let mut state = State { out: Vec::new(), lines: Lines::new(Color::Never), running: HashMap::new() };
        let start = Instant::now();
        for second in 0..=70 {
            let progress = Progress { done: second, total: 100, unit: "step".into(), ..Progress::default() };
            state.event(&Event::Progress { stage: "a".into(), progress }, start + Duration::from_secs(second));
        }
        assert_eq!(
            String::from_utf8(state.out).unwrap(),
            "at   a  step  30/100  1m 10s left\nat   a  step  60/100  40s left\n"
        );
    }
}
