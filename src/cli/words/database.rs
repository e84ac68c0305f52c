//! The database of past runs, and the name under which a file's runs are in it.

use std::path::PathBuf;

use crate::cli::context::{Context, File};
use crate::error::Error;
use pipe_engine::judge::history::History as Database;
use pipe_engine::judge::project::Project;

/// The name under which the runs of a file are recorded.
pub fn pipeline_name(cx: &Context<'_>, file: Option<&PathBuf>) -> Result<Option<String>, Error> {
    let Some(file) = file else { return Ok(None) };
    let file = File { file: file.clone(), profile: None, set: Vec::new() };
    Ok(Some(cx.resolve(&file)?.name))
}

pub fn database(project: &Project) -> Result<&Database, Error> {
    project.history.as_ref().ok_or_else(|| Error::failed(project.history_problem.clone().unwrap_or_default()))
}
