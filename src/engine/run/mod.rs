//! Doing what was judged: schedules, attempts, records and exports.

pub mod attempt;
pub mod export;
pub mod follow;
pub mod log;
pub(crate) mod recorder;
pub mod schedule;
pub(crate) mod slots;
pub(crate) mod state;
