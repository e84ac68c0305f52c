//! Names that stand for folders somewhere else, such as `hf:OWNER/NAME`, and how the engine gets those folders.

use std::path::PathBuf;

use super::event::Observer;
use super::kind::What;

/// A scheme such as `hf:` whose names stand for folders elsewhere, and how to download them.
#[derive(Clone, Copy)]
pub struct Origin {
    /// Names with this prefix are downloaded before the first stage runs.
    pub prefix: &'static str,
    /// What this machine already has, without network access; `fetch` must then give the same. An error if `fetch`
    /// could only fail.
    pub held: fn(&str, What) -> anyhow::Result<Option<Fetched>>,
    pub fetch: fn(&str, What, &dyn Observer) -> anyhow::Result<Fetched>,
}

/// A downloaded folder.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub dir: PathBuf,
    /// What pins its content, such as a commit. Without it the engine digests the folder's files like those of the
    /// project.
    pub identity: Option<String>,
}
