//! Events, diagnostics and results as text: the only place besides `cli` that prints.
//!
//! `mode` picks one of three reporters for a run: `plain` (a line per event), `live` (bars above which the same lines
//! scroll) and `json`. `line` holds the words that plain and live share; all of it leaves through `secret`.

pub mod color;
pub mod diagnostic;
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
