//! Model folders in the Hugging Face layout: reading them with what is missing made fresh, and
//! writing them.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;

use super::config::Config;
use super::host::HostTensors;
use super::{Model, init, walk, weights};

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
            Model::Roberta(_) => "roberta",
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
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}
