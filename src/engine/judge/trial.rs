//! Finds the result of a trial by the name under which runs report it: `teacher[trial=3]`.

use super::project::Project;
use crate::declare::resolve::Pipeline;
use crate::store::entry::Entry;

/// The last result of a trial.
#[derive(Debug, Clone)]
pub struct OfTrial {
    /// The instance of the file that it varies: `teacher`.
    pub instance: String,
    pub fingerprint: String,
    pub entry: Entry,
}

impl Project {
    /// The last result under a name that is not an instance of the file, if a run recorded it and the cache has it.
    pub fn trial(&self, pipeline: &Pipeline, name: &str) -> Option<OfTrial> {
        let instance = varied(name)?;
        let is_instance = |name: &str| pipeline.instances.iter().any(|i| i.name == name);
        if is_instance(name) || !is_instance(&instance) {
            return None;
        }
        let fingerprint = self.history.as_ref()?.latest(&pipeline.name).ok()?.remove(name)?.fingerprint;
        let entry = self.cache.entry(&fingerprint).ok()??;
        Some(OfTrial { instance, fingerprint, entry })
    }
}

/// The name without its last coordinate: `scores[teacher]` of `scores[teacher, trial=3]`.
fn varied(name: &str) -> Option<String> {
    let inner = name.strip_suffix(']')?;
    match inner.rsplit_once(", ") {
        Some((start, _)) => Some(format!("{start}]")),
        None => inner.split_once('[').map(|(stage, _)| stage.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_named_after_what_it_varies() {
        assert_eq!(varied("teacher[trial=3]").as_deref(), Some("teacher"));
        assert_eq!(varied("scores[teacher, trial=3]").as_deref(), Some("scores[teacher]"));
        assert_eq!(varied("teacher"), None);
    }
}
