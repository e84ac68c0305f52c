//! Takes a trained model from elsewhere into a folder of its own, as the other stages expect one.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use serde_json::{Map, Value, json};

use super::classifier::Model;
use super::config::Config;
use super::load::Match;
use crate::files::weights;
use crate::files::weights::{Weights, write_whole};

const CONFIG: &str = "config.json";

/// A model that was taken in.
#[derive(Debug)]
pub struct Adopted {
    /// Label names in the order of the logits.
    pub labels: Vec<String>,
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
}

/// Read the trained model in `from`, and write its config and weights to `to`. With `labels`, they replace the names in
/// the config.
///
/// Safetensors that have exactly the model's parameters, each under its own name, are copied: their size and precision
/// are facts about the model. So are integers. Everything else (PyTorch files, old or wrapped names, tensors that a
/// classifier does not use) is written anew, because other stages work on tensors by name.
pub fn adopt(from: &Path, to: &Path, labels: Option<&[String]>) -> Result<Adopted> {
    let config = Config::open(from)?;
    let whose = format!("the model in {}", from.display());
    if let Some(problem) = config.other_problem() {
        bail!(
            "{whose} has `problem_type` {problem} in its config.json; `pipe` can only score models that choose one label \
             (`single_label_classification`)"
        );
    }
    let Some(weights) = Weights::open(from)? else {
        bail!("{whose} has a config but no weights ({}); train it first, as the `base` of `train`", weights::SINGLE)
    };
    Match::whole(&config, &weights).with_context(|| format!("{whose} cannot be used as it is"))?;
    let outputs = config.labels().len();
    if let Some(labels) = labels {
        ensure!(labels.len() == outputs, "`labels` has {} names, but {whose} has {outputs} outputs", labels.len());
    }
    let names = labels.unwrap_or(config.labels()).to_vec();
    if config.quantization().is_some() || is_plain(from, &config, &weights)? {
        let files = weights::files(from)?;
        let files: Vec<&str> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
        copy(from, to, &[&files[..], &[weights::INDEX, CONFIG]].concat())?;
        if let Some(labels) = labels {
            rename(&to.join(CONFIG), labels)?;
        }
        return Ok(Adopted { labels: names, notes: Vec::new(), warnings: Vec::new() });
    }
    let loaded = Model::load(from, None, 0, &Device::flex())?;
    loaded.model.save(to, &names)?;
    let mut notes = loaded.notes;
    notes
        .push(format!("the weights were written anew as {}: 32-bit floats under their current names", weights::SINGLE));
    Ok(Adopted { labels: names, notes, warnings: loaded.warnings })
}

/// Whether the weights are safetensors with exactly the model's parameters, each under its own name.
fn is_plain(dir: &Path, config: &Config, weights: &Weights) -> Result<bool> {
    let is_safe = [weights::SINGLE, weights::INDEX].iter().any(|name| dir.join(name).is_file());
    let is_whole = Match::of(config, weights)?.unexpected.is_empty();
    let mut parameters = Model::outline(config).into_iter();
    Ok(is_safe && is_whole && parameters.all(|parameter| weights.tensors.contains_key(&parameter.name)))
}

/// Replace the label names in a `config.json`, and nothing else.
fn rename(path: &Path, labels: &[String]) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut config: Map<String, Value> = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .with_context(|| format!("{} is not a JSON object", path.display()))?;
    let numbered = || labels.iter().enumerate();
    let id2label: Map<_, _> = numbered().map(|(i, label)| (i.to_string(), json!(label))).collect();
    let label2id: Map<_, _> = numbered().map(|(i, label)| (label.clone(), json!(i))).collect();
    config.insert("id2label".into(), id2label.into());
    config.insert("label2id".into(), label2id.into());
    config.remove("num_labels");
    write_whole(path, &serde_json::to_vec_pretty(&config).context("encoding config.json")?)
}

/// Copy the files with these names that exist.
pub fn copy(from: &Path, to: &Path, names: &[&str]) -> Result<()> {
    for name in names.iter().filter(|name| from.join(name).is_file()) {
        let (from, to) = (from.join(name), to.join(name));
        let copy = || -> std::io::Result<u64> {
            // Not `fs::copy`, which would copy a read-only mode.
            std::io::copy(&mut fs::File::open(&from)?, &mut fs::File::create(&to)?)
        };
        copy().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture::Fixture;
    use crate::model::{HostTensor, HostTensors};

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("class {i}")).collect()
    }

    /// Adopts a copy of the fixture with other weights.
    fn adopted(change: impl Fn(&mut HostTensors)) -> (Adopted, HostTensors, HostTensors) {
        let fixture = Fixture::open("bert-longest");
        let (from, to) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        copy(&fixture.dir, from.path(), &[CONFIG]).expect("copied");
        let before = weights::read(&weights::files(&fixture.dir).expect("files")).expect("read");
        let mut changed = before.clone();
        change(&mut changed);
        weights::write_f32(&from.path().join(weights::SINGLE), &changed).expect("written");
        let adopted = adopt(from.path(), to.path(), None).expect("adopted");
        let after = weights::read(&weights::files(to.path()).expect("files")).expect("read");
        (adopted, before, after)
    }

    #[test]
    fn plain_weights_are_copied_and_labels_renamed() {
        let fixture = Fixture::open("bert-longest");
        let to = tempfile::tempdir().expect("a folder");
        let count = Config::open(&fixture.dir).expect("valid").labels().len();
        let adopted = adopt(&fixture.dir, to.path(), Some(&names(count))).expect("adopted");
        assert_eq!((adopted.labels, adopted.notes), (names(count), Vec::new()));
        let bytes = |dir: &Path| fs::read(dir.join(weights::SINGLE)).expect("read");
        assert!(bytes(&fixture.dir) == bytes(to.path()));
        let config = Config::open(to.path()).expect("valid");
        assert_eq!(config.labels(), names(count));
        let other = adopt(&fixture.dir, to.path(), Some(&names(count + 1))).map(|_| ()).expect_err("refused");
        let expected = format!("`labels` has {} names, but the model in ", count + 1);
        assert!(other.to_string().starts_with(&expected), "{other}");
    }

    #[test]
    fn old_names_and_tensors_of_other_heads_are_cleared_away() {
        let (found, before, after) = adopted(|tensors| {
            let moved: Vec<(String, HostTensor)> =
                std::mem::take(tensors).into_iter().map(|(name, tensor)| (format!("module.{name}"), tensor)).collect();
            tensors.extend(moved);
            tensors.insert("module.lm_head.bias".into(), HostTensor { shape: vec![1], data: vec![1.0] });
        });
        assert!(after == before);
        assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
        assert!(found.notes[0].starts_with("not used by a classifier, ignored: "), "{:?}", found.notes);
        assert!(found.notes[1].starts_with("the weights were written anew as model.safetensors"), "{:?}", found.notes);
    }

    #[test]
    fn a_model_that_is_not_a_trained_classifier_is_refused() {
        let fixture = Fixture::open("bert-longest");
        let (from, to) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        copy(&fixture.dir, from.path(), &[CONFIG]).expect("copied");
        let refused = || format!("{:#}", adopt(from.path(), to.path(), None).map(|_| ()).expect_err("refused"));
        assert!(refused().contains("has a config but no weights (model.safetensors)"), "{}", refused());
        let mut tensors = weights::read(&weights::files(&fixture.dir).expect("files")).expect("read");
        tensors.retain(|name, _| !name.starts_with("classifier"));
        weights::write_f32(&from.path().join(weights::SINGLE), &tensors).expect("written");
        assert!(
            refused().contains("cannot be used as it is: it lacks classifier.weight, classifier.bias"),
            "{}",
            refused()
        );
    }
}
