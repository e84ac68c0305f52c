//! Names that stand for folders somewhere else, such as `hf:OWNER/NAME`, and how the engine gets those folders.

use std::path::PathBuf;

use super::event::Observer;
use super::kind::What;

/// A name that stands for a folder somewhere else, such as `hf:OWNER/NAME`, and how to get it.
#[derive(Clone, Copy)]
pub struct Remote {
    /// Names that start so are fetched before the first stage runs.
    pub prefix: &'static str,
    /// What this machine has of it already, without asking anyone; `fetch` must then give the same. An error where
    /// `fetch` could only fail.
    pub held: fn(&str, What) -> anyhow::Result<Option<Fetched>>,
    pub fetch: fn(&str, What, &dyn Observer) -> anyhow::Result<Fetched>,
}

/// A fetched folder.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub dir: PathBuf,
    /// What pins its content, such as a commit; where nothing does, its files are digested as those of the project are.
    pub identity: Option<String>,
}
