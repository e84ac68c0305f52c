//! Everything that a pipeline is judged and run with.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::external::Externals;
use super::history::{History, Latest};
use crate::declare::graph::Graph;
use crate::declare::instance::Instance;
use crate::declare::resolve::Pipeline;
use crate::store::archive::client::Client;
use crate::store::cache::Cache;
use crate::store::digest::StatCache;

/// Everything needed to judge and run a pipeline.
pub struct Job<'a> {
    pub pipeline: &'a Pipeline,
    pub graph: &'a Graph,
    pub cache: &'a Cache,
    pub stats: &'a StatCache,
    pub externals: &'a Externals,
    /// The second store, asked for what the cache lacks.
    pub archive: Option<&'a Arc<Client>>,
    pub history: Option<&'a History>,
    /// The last result of each stage before this job, read on first use.
    pub latest: &'a OnceLock<HashMap<String, Latest>>,
    pub root: &'a Path,
    /// Which instances are wanted, by index.
    pub needed: &'a [bool],
    /// Which instances run even if the cache has their result, by index.
    pub forced: &'a [bool],
}

impl Job<'_> {
    pub fn instance(&self, at: usize) -> &Instance {
        &self.pipeline.instances[at]
    }
}
