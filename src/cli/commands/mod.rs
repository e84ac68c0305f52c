//! The commands, one file each.

pub mod cache;
pub mod completions;
pub mod diagnose;
pub mod diff;
pub mod gc;
pub mod graph;
pub mod history;
pub mod init;
pub mod inspect;
pub mod metrics;
pub mod plan;
pub mod predict;
pub mod pull;
pub mod push;
pub mod run;
pub mod schema;
pub mod show;
pub mod stage;
pub mod stages;
pub mod why;
