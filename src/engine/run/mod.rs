//! Doing what was judged: schedules, executors, attempts, records and exports.

pub(crate) mod archived;
pub mod attempt;
pub mod ended;
pub mod executor;
pub mod export;
pub mod follow;
pub mod log;
pub(crate) mod pipes;
pub(crate) mod pool;
pub mod processes;
pub(crate) mod recorder;
pub mod schedule;
pub mod single;
pub(crate) mod slots;
pub(crate) mod state;
pub(crate) mod subrun;
pub(crate) mod uploader;
