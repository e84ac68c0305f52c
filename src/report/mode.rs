//! Selects the reporter of a run.

use super::color::Color;
use super::json::Json;
use super::live::Live;
use super::plain::Plain;
use pipe_engine::contract::event::Observer;
use pipe_engine::contract::run_id::RunId;

/// How a run is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Live on a terminal, plain elsewhere.
    Auto,
    /// One line per event.
    Plain,
    Json,
}

/// A reporter on the process's own streams: text for people on standard error, JSON on standard output.
pub fn reporter(mode: Mode, id: &RunId) -> Box<dyn Observer + Send> {
    let color = Color::of_stderr();
    match mode {
        Mode::Json => Box::new(Json::new(std::io::stdout(), id.clone())),
        Mode::Plain => Box::new(Plain::new(std::io::stderr(), color)),
        Mode::Auto => match Live::new(color) {
            Some(live) => Box::new(live),
            None => Box::new(Plain::new(std::io::stderr(), color)),
        },
    }
}
