//! Turns events, diagnostics and results into text: only this module and `cli` print.
//!
//! `mode` selects one of three reporters for a run: `plain` (one line per event), `live` (progress bars below the same
//! lines) and `json`. `line` holds the wording that plain and live share. All output passes through `secret`.

pub mod color;
pub mod diagnostic;
pub mod diff;
mod evaluation;
pub mod format;
pub mod graph;
pub mod json;
pub mod line;
pub mod live;
pub mod mode;
pub mod pace;
pub mod plain;
pub mod secret;
pub mod table;

pub use color::Color;
pub use mode::{Mode, reporter};
