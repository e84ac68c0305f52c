//! The command line: its arguments, the commands, and what the commands share.

pub mod args;
pub mod commands;
pub mod context;
pub mod words;

pub use args::{Args, execute, main};
pub use context::{Build, Context};
