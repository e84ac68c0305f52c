//! The commands, one file each: they parse arguments, call the engine and print results on standard output.

pub mod archive;
pub mod args;
pub mod cache;
pub mod compared;
pub mod completions;
pub mod context;
pub mod diagnose;
pub mod diagnosed;
pub mod diff;
pub mod gc;
pub mod git;
pub mod graph;
pub mod history;
pub mod init;
pub mod inspect;
pub mod inspected;
pub mod interrupt;
pub mod metrics;
pub mod model;
pub mod parameter;
pub mod plan;
pub mod predict;
pub mod run;
pub mod saved;
pub mod schema;
pub mod show;
pub mod side;
pub mod stages;
pub mod toml_text;
pub mod why;

pub use args::{Args, execute, main};
pub use context::{Build, Context};
