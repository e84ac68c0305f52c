//! The results of trials: found by the name under which runs report them, `teacher[trial=3]`, and what surrounds one.

use std::collections::BTreeMap;

use super::project::Project;
use crate::declare::instance::Instance;
use crate::declare::resolve::Pipeline;
use crate::store::artifact::Artifact;
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

/// The first artifact on each input port of a trial's target, and the results of these other instances by stage.
pub(crate) fn around<'a>(
    (target, others): (usize, impl Iterator<Item = usize>),
    instances: &[Instance],
    entry_of: &dyn Fn(usize) -> Option<&'a Entry>,
) -> (BTreeMap<&'static str, Artifact>, BTreeMap<String, Entry>) {
    let mut inputs = BTreeMap::new();
    for wire in &instances[target].inputs {
        if let Some(artifact) = entry_of(wire.from).and_then(|entry| entry.outputs.get(wire.output)) {
            inputs.entry(wire.port).or_insert_with(|| artifact.clone());
        }
    }
    let others = others.filter(|at| *at != target);
    (inputs, others.filter_map(|at| Some((instances[at].stage.clone(), entry_of(at)?.clone()))).collect())
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
