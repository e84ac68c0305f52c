//! Doing what was judged: schedules, attempts, records and exports.

pub(crate) mod archived;
pub mod attempt;
pub mod export;
pub(crate) mod recorder;
pub mod schedule;
pub(crate) mod slots;
pub(crate) mod state;
pub(crate) mod uploader;
