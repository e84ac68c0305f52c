//! How an attempt ended.

use crate::store::entry::Entry;
use crate::store::error::Damaged;

/// How an attempt at a stage ended.
pub enum Attempt {
    /// `was_made` is false if another process made the result meanwhile.
    Done {
        entry: Box<Entry>,
        was_made: bool,
    },
    Failed {
        error: String,
    },
    Interrupted,
    /// An input is damaged: the instance that made it has to run again.
    DamagedInput {
        from: usize,
        damaged: Damaged,
    },
}
