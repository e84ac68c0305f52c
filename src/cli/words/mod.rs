//! What the commands share: what their words name, and how their results are written.

pub mod archive;
pub mod compared;
pub mod database;
pub mod diagnosed;
pub mod folders;
pub mod git;
pub mod inspected;
pub mod interrupt;
pub mod model;
pub mod parameter;
pub mod saved;
pub mod side;
pub mod toml_text;
