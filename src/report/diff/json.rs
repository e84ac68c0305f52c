//! A review for machines; `docs/diff.md` describes every field.

use serde::Serialize;

use pipe_engine::diff::Review;

/// Raised when a field changes its meaning or goes. Fields may be added without that.
const VERSION: u32 = 1;

/// The root of the JSON.
#[derive(Serialize)]
pub struct Document<'a> {
    version: u32,
    pipelines: &'a [Review],
}

impl<'a> Document<'a> {
    pub fn of(pipelines: &'a [Review]) -> Self {
        Self { version: VERSION, pipelines }
    }
}
