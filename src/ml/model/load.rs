//! Model folders in the Hugging Face layout: reading them with what is missing made fresh, and
//! writing them.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;

use super::config::Config;
use super::host::HostTensors;
use super::{Model, bert, deberta, init, roberta, walk, weights};

/// A model from a folder, with what the user should know about it.
#[derive(Debug)]
pub struct Loaded {
    pub model: Model,
    pub initialised: Initialised,
    /// Warnings, one line each.
    pub notes: Vec<String>,
}

/// Which parameters got fresh weights because the folder had none for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initialised {
    Nothing,
    /// These, by name: a head for other labels, as a rule.
    Part(Vec<String>),
    /// The folder holds a config without weights.
    Everything,
}

impl Model {
    /// Reads a folder with `config.json` and `model.safetensors` (sharded too; f32, f16, bf16 or
    /// `pipe`'s int8, all computed in f32).
    ///
    /// `labels` are those to classify into; where their number is not that of the folder's head, the
    /// head's last layer is made fresh from `seed`, as `ignore_mismatched_sizes` does. Without
    /// `labels`, those of the config hold.
    pub fn load(dir: &Path, labels: Option<&[String]>, seed: u64, device: &Device) -> Result<Loaded> {
        let mut config = Config::open(dir)?;
        let mut notes = Vec::new();
        if let Some(labels) = labels {
            config = config.with_labels(labels);
        }
        let files = weights::files(dir)?;
        let model = Model::empty(&config, device);
        if files.is_empty() {
            notes.push(format!("{} has no weights: all start fresh from seed {seed}", dir.display()));
            let fresh = init::all(&model.parameters(), &config, seed);
            let model = walk::fill(model, fresh)?.0;
            return Ok(Loaded { model, initialised: Initialised::Everything, notes });
        }
        let mut host = weights::read(&files)?;
        rename_old(&mut host, model.body());
        let made = complete(&model, &mut host, &config, seed, &mut notes)
            .with_context(|| format!("loading the model in {}", dir.display()))?;
        let (model, unknown) =
            walk::fill(model, host).with_context(|| format!("loading the model in {}", dir.display()))?;
        let unknown: Vec<String> = unknown.into_iter().filter(|name| !is_buffer(name)).collect();
        if !unknown.is_empty() {
            notes.push(format!("not used by a classifier, left out: {}", shortened(&unknown)));
        }
        let initialised = if made.is_empty() { Initialised::Nothing } else { Initialised::Part(made) };
        Ok(Loaded { model, initialised, notes })
    }

    /// Writes `config.json` and `model.safetensors` for `labels`, loadable by `from_pretrained`.
    /// Adapters must have been merged.
    pub fn save(&self, dir: &Path, labels: &[String]) -> Result<()> {
        let outputs = self.config().labels().len();
        ensure!(
            labels.len() == outputs,
            "{} labels for a model with {outputs} outputs ({})",
            labels.len(),
            dir.display()
        );
        let adapted = self.parameters().into_iter().find(|p| p.name.contains(".lora_"));
        if let Some(parameter) = adapted {
            bail!("the model has an adapter ({}); merge it before saving the model", parameter.name);
        }
        weights::write_f32(&dir.join(weights::SINGLE), &self.to_host()?)?;
        let json = self.config().clone().with_labels(labels).to_json();
        let text = serde_json::to_string_pretty(&json).context("encoding config.json")?;
        weights::write_whole(&dir.join("config.json"), text.as_bytes())
    }

    /// The name of the encoder without its head: the prefix of its parameters.
    fn body(&self) -> &'static str {
        match self {
            Model::Roberta(_) => roberta::Roberta::BODY,
            Model::Bert(_) => bert::Bert::BODY,
            Model::Deberta(_) => deberta::Deberta::BODY,
        }
    }
}

/// Adds fresh values for what the files lack or hold in another shape in the head; returns the names.
fn complete(
    model: &Model,
    host: &mut HostTensors,
    config: &Config,
    seed: u64,
    notes: &mut Vec<String>,
) -> Result<Vec<String>> {
    let body = format!("{}.", model.body());
    let parameters = model.parameters();
    let found = parameters.iter().filter(|p| p.name.starts_with(&body) && host.contains_key(&p.name)).count();
    ensure!(
        found > 0,
        "none of its tensors has a name of the `{}` family, such as {}; it has for example {}",
        config.model_type(),
        parameters[0].name,
        host.keys().next().map_or("none", String::as_str)
    );
    let mut missing = Vec::new();
    let mut resized = Vec::new();
    for parameter in &parameters {
        match host.get(&parameter.name) {
            Some(tensor) if tensor.shape == parameter.shape => continue,
            None => missing.push(parameter.name.clone()),
            Some(tensor) if parameter.name.starts_with(&body) => bail!(
                "parameter {} has shape {:?}; config.json asks for {:?}",
                parameter.name,
                tensor.shape,
                parameter.shape
            ),
            Some(_) => resized.push(parameter.name.clone()),
        }
        let fresh = init::fresh(&parameter.name, &parameter.shape, config, seed);
        host.insert(parameter.name.clone(), fresh);
    }
    if !missing.is_empty() {
        notes.push(format!("not in the files, start fresh from seed {seed}: {}", shortened(&missing)));
    }
    if !resized.is_empty() {
        notes.push(format!(
            "of another shape for {} labels, start fresh from seed {seed}: {}",
            config.labels().len(),
            shortened(&resized)
        ));
    }
    missing.append(&mut resized);
    Ok(missing)
}

/// Names that older checkpoints use: LayerNorm's `gamma` and `beta`, and an encoder saved by itself.
fn rename_old(host: &mut HostTensors, body: &str) {
    let bare = !host.keys().any(|name| name.starts_with(&format!("{body}.")));
    let old = std::mem::take(host);
    host.extend(old.into_iter().map(|(name, tensor)| {
        let mut name = match name.strip_suffix("LayerNorm.gamma") {
            Some(layer) => format!("{layer}LayerNorm.weight"),
            None => match name.strip_suffix("LayerNorm.beta") {
                Some(layer) => format!("{layer}LayerNorm.bias"),
                None => name,
            },
        };
        if bare && (name.starts_with("embeddings.") || name.starts_with("encoder.")) {
            name = format!("{body}.{name}");
        }
        (name, tensor)
    }));
}

/// Index tables that old versions of transformers saved among the weights.
fn is_buffer(name: &str) -> bool {
    name.ends_with("embeddings.position_ids") || name.ends_with("embeddings.token_type_ids")
}

/// At most six names, so that a note stays a line.
pub(crate) fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::model::fixture::Fixture;
    use std::fs;

    const TINY: &str = r#"{"model_type": "roberta", "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 20, "type_vocab_size": 1,
        "id2label": {"0": "no", "1": "yes"}, "kept": "as it is"}"#;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("class {i}")).collect()
    }

    fn tiny() -> Model {
        Model::init(&Config::parse(TINY).expect("valid"), 5, &Device::flex()).expect("built")
    }

    fn error(dir: &Path) -> String {
        let loaded = Model::load(dir, None, 0, &Device::flex());
        format!("{:#}", loaded.map(|_| ()).expect_err("refused"))
    }

    #[test]
    fn what_is_saved_loads_equal_bit_by_bit() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let model = tiny();
        model.save(dir.path(), &["nein".into(), "ja".into()]).expect("saved");
        let loaded = Model::load(dir.path(), None, 99, &Device::flex()).expect("loads");
        assert_eq!(loaded.initialised, Initialised::Nothing);
        assert_eq!(loaded.model.to_host().expect("host"), model.to_host().expect("host"));
        assert_eq!(loaded.model.config().labels(), ["nein", "ja"]);
        assert_eq!(loaded.model.config().field("kept"), Some(&serde_json::json!("as it is")));
    }

    #[test]
    fn names_and_shapes_are_those_of_transformers() {
        let Some(fixture) = Fixture::open("roberta-tiny") else { return };
        let bytes = fs::read(fixture.dir.join("model.safetensors")).expect("read");
        let theirs = safetensors::SafeTensors::deserialize(&bytes).expect("valid");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let loaded = Model::load(&fixture.dir, None, 0, &Device::flex()).expect("loads");
        loaded.model.save(dir.path(), loaded.model.config().labels()).expect("saved");
        let ours = fs::read(dir.path().join("model.safetensors")).expect("read");
        let ours = safetensors::SafeTensors::deserialize(&ours).expect("valid");
        assert_eq!(ours.len(), theirs.len());
        for (name, tensor) in theirs.tensors() {
            assert!(ours.tensor(&name).expect("same names") == tensor, "{name}");
        }
    }

    #[test]
    fn a_head_for_other_labels_is_made_fresh_and_said_so() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let model = tiny();
        model.save(dir.path(), &names(2)).expect("saved");
        let loaded = Model::load(dir.path(), Some(&names(5)), 7, &Device::flex()).expect("loads");
        let fresh = vec!["classifier.out_proj.weight".to_owned(), "classifier.out_proj.bias".to_owned()];
        assert_eq!(loaded.initialised, Initialised::Part(fresh));
        assert_eq!(
            loaded.notes,
            [
                "of another shape for 5 labels, start fresh from seed 7: classifier.out_proj.weight, classifier.out_proj.bias"
            ]
        );
        let (before, after) = (model.to_host().expect("host"), loaded.model.to_host().expect("host"));
        assert_eq!(before["classifier.dense.weight"], after["classifier.dense.weight"]);
        assert_eq!(after["classifier.out_proj.weight"].shape, [5, 16]);
    }

    #[test]
    fn a_config_alone_starts_from_the_seed() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::write(dir.path().join("config.json"), TINY).expect("written");
        let load = |seed| Model::load(dir.path(), None, seed, &Device::flex()).expect("loads");
        let one = load(5);
        assert_eq!(one.initialised, Initialised::Everything);
        let host = one.model.to_host().expect("host");
        assert_eq!(host, tiny().to_host().expect("host"));
        assert_ne!(host, load(6).model.to_host().expect("host"));
        assert!(host["roberta.embeddings.LayerNorm.weight"].data.iter().all(|v| *v == 1.0));
        assert!(host["classifier.dense.bias"].data.iter().all(|v| *v == 0.0));
        assert!(host["roberta.embeddings.word_embeddings.weight"].data[16..32].iter().all(|v| *v == 0.0));
    }

    #[test]
    fn a_language_model_gets_a_fresh_head_and_loses_its_own() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        tiny().save(dir.path(), &names(2)).expect("saved");
        // As the checkpoint of a bare encoder with old names, plus a language-model head.
        let path = dir.path().join("model.safetensors");
        let host = weights::read(std::slice::from_ref(&path)).expect("read");
        let renamed = host.into_iter().filter(|(name, _)| !name.starts_with("classifier")).map(|(name, tensor)| {
            let name = name.trim_start_matches("roberta.").replace("LayerNorm.weight", "LayerNorm.gamma");
            (name.replace("LayerNorm.bias", "LayerNorm.beta"), tensor)
        });
        let mut renamed: HostTensors = renamed.collect();
        let head = renamed["embeddings.LayerNorm.gamma"].clone();
        renamed.insert("lm_head.bias".into(), head);
        weights::write_f32(&path, &renamed).expect("written");
        let loaded = Model::load(dir.path(), None, 1, &Device::flex()).expect("loads");
        assert_eq!(loaded.notes.len(), 2, "{:?}", loaded.notes);
        assert!(loaded.notes[0].starts_with("not in the files, start fresh from seed 1: classifier.dense.weight"));
        assert_eq!(loaded.notes[1], "not used by a classifier, left out: lm_head.bias");
        let (mut ours, mut expected) = (loaded.model.to_host().expect("host"), tiny().to_host().expect("host"));
        ours.retain(|name, _| name.starts_with("roberta"));
        expected.retain(|name, _| name.starts_with("roberta"));
        assert_eq!(ours, expected);
    }

    #[test]
    fn files_that_do_not_fit_the_config_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        tiny().save(dir.path(), &names(2)).expect("saved");
        let config = TINY.replace("\"intermediate_size\": 32", "\"intermediate_size\": 64");
        fs::write(dir.path().join("config.json"), config).expect("written");
        let text = error(dir.path());
        assert!(text.ends_with("has shape [32, 16]; config.json asks for [64, 16]"), "{text}");

        fs::write(dir.path().join("config.json"), TINY).expect("written");
        let strange =
            HostTensors::from([("wte.weight".into(), super::super::HostTensor { shape: vec![1], data: vec![0.0] })]);
        weights::write_f32(&dir.path().join("model.safetensors"), &strange).expect("written");
        let text = error(dir.path());
        assert!(text.contains("none of its tensors has a name of the `roberta` family"), "{text}");
        assert!(text.contains("it has for example wte.weight"), "{text}");
    }

    #[test]
    fn the_wrong_number_of_labels_cannot_be_saved() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let text = tiny().save(dir.path(), &names(3)).expect_err("refused").to_string();
        assert!(text.starts_with("3 labels for a model with 2 outputs"), "{text}");
    }
}
