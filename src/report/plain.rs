//! One stable line for each event: for logs, pipes and continuous integration.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::color::Color;
use super::line::Lines;
use super::pace::Pace;
use super::secret;
use pipe_engine::contract::event::{Event, Observer};

/// A log of an hour's training stays short, and a hung job can still be told from a slow one.
const PROGRESS_EVERY: Duration = Duration::from_secs(30);

/// Writes lines to `W`, standard error in a run.
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
                let (pace, told) = self.running.entry(stage.clone()).or_insert_with(|| (Pace::new(progress, now), now));
                pace.update(progress, now);
                if now - *told < PROGRESS_EVERY {
                    return;
                }
                *told = now;
                let left = pace.left(now);
                Some(self.lines.progress(stage, progress, left))
            }
            _ => self.lines.event(event),
        };
        if let Some(text) = text {
            // Where nobody listens any more, there is nobody to tell.
            let _ = secret::write(&mut self.out, &(text + "\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipe_engine::contract::progress::Progress;

    #[test]
    fn progress_is_told_twice_a_minute() {
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
