//! Model folders in the Hugging Face layout: reading them with what is missing made fresh, and
//! writing them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use rayon::prelude::*;
use safetensors::Dtype;

use super::config::Config;
use super::integer::{self, Integers, WEIGHT};
use super::names::is_buffer;
use super::weights::stored::Stored;
use super::weights::write::Shape;
use super::weights::{Pair, Weights};
use super::{Model, Named, init, walk, weights};
use crate::ml::device;

/// A model from a folder, with what the user should know about it.
#[derive(Debug)]
pub struct Loaded {
    pub model: Model,
    pub initialised: Initialised,
    /// How many of its numbers are not zero.
    pub non_zero: usize,
    /// Tensors of the files that are no parameters of the model, by name; a language model's head, as a rule.
    pub unexpected: Vec<String>,
    /// Warnings, one line each.
    pub notes: Vec<String>,
}

/// Where a model is read from, and what it is to compute with.
struct Origin<'a> {
    dir: &'a Path,
    seed: u64,
    product: Product,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Product {
    Floats,
    /// Where the weights are.
    Integers,
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
        let config = Config::open(dir)?;
        let config = labels.map_or(config.clone(), |labels| config.with_labels(labels));
        Self::load_as(config, dir, seed, device)
    }

    /// The same with a config that need not be the folder's: other labels, another head.
    pub fn load_as(config: Config, dir: &Path, seed: u64, device: &Device) -> Result<Loaded> {
        Self::load_from(Origin { dir, seed, product: Product::Floats }, config, device)
    }

    /// A folder as it is, to score with: on the CPU, linear layers whose weights are integers compute in integers.
    pub fn load_to_score(dir: &Path, device: &Device) -> Result<Loaded> {
        let product = if device::is_cpu(device) { Product::Integers } else { Product::Floats };
        Self::load_from(Origin { dir, seed: 0, product }, Config::open(dir)?, device)
    }

    fn load_from(Origin { dir, seed, product }: Origin, config: Config, device: &Device) -> Result<Loaded> {
        let mut notes = Vec::new();
        if !config.unknown().is_empty() {
            let unknown = shortened(config.unknown());
            notes.push(format!("config.json has unknown fields, which have no effect: {unknown}"));
        }
        if let Some(problem) = config.other_problem() {
            notes.push(format!("its head is one for {problem}; here it chooses one label"));
        }
        let model = Model::empty(&config, device);
        let Some(weights) = Weights::open(dir)? else {
            let unread = weights::unread(dir);
            ensure!(
                unread.is_empty(),
                "model folder {} has {}, but neither {} nor {}, and for shards not the index that names them ({})",
                dir.display(),
                shortened(&unread),
                weights::SINGLE,
                weights::PICKLE,
                weights::INDEX
            );
            notes.push(format!("{} has no weights: all start fresh from seed {seed}", dir.display()));
            let fresh = init::all(&model.parameters(), &config, seed);
            let non_zero = fresh.values().map(|tensor| non_zero(&tensor.data)).sum();
            let model = walk::fill(model, fresh)?.0;
            let initialised = Initialised::Everything;
            return Ok(Loaded { model, initialised, non_zero, unexpected: Vec::new(), notes });
        };
        let plan = Plan::new(&model, &weights).with_context(|| format!("loading the model in {}", dir.display()))?;
        notes.extend(plan.notes(&config, seed));
        if !plan.missing.iter().chain(&plan.resized).any(|name| name.starts_with("classifier")) {
            notes.extend(relabelled(&config)?);
        }
        let integers = if product == Product::Integers {
            integer::layers(&plan.parameters, &plan.found, &config)?
        } else {
            BTreeMap::new()
        };
        let values = plan.values(&config, seed, &integers)?;
        let non_zero = values.par_iter().map(|(_, values)| non_zero(values)).sum::<usize>()
            + integers.values().map(Integers::non_zero).sum::<usize>();
        let mut model = walk::place(model, values);
        model.set_integers(integers);
        let made: Vec<String> = plan.missing.into_iter().chain(plan.resized).collect();
        let initialised = if made.is_empty() { Initialised::Nothing } else { Initialised::Part(made) };
        Ok(Loaded { model, initialised, non_zero, unexpected: plan.unexpected, notes })
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
        let json = self.config().clone().with_labels(labels).to_json();
        let config = serde_json::to_string_pretty(&json).context("encoding config.json")?;
        let pair = Pair { config: dir.join("config.json"), weights: dir.join(weights::SINGLE) };
        pair.write(&config, |file| {
            let shape = |p: Named| Shape { name: p.name, dtype: Dtype::F32, shape: p.shape };
            let shapes = self.parameters().into_iter().map(shape).collect();
            weights::write::fill(file, shapes, |body| {
                walk::for_each_piece(self, |piece| body.put_f32(piece.name, &piece.values))
            })
        })
    }
}

/// How the tensors of some files suit a model, told from their names and shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// Parameters that the files lack.
    pub missing: Vec<String>,
    /// Those of the head that the files hold for another number of labels.
    pub resized: Vec<String>,
    /// What the files hold beyond the parameters.
    pub unexpected: Vec<String>,
}

impl Fit {
    /// What [`Model::load`] would find; its error where it would end with one.
    pub fn of(config: &Config, weights: &Weights) -> Result<Self> {
        let Plan { missing, resized, unexpected, .. } = Plan::new(&Model::empty(config, &Device::flex()), weights)?;
        Ok(Fit { missing, resized, unexpected })
    }

    /// Where each parameter of a trained classifier is in its files; none may be missing.
    pub fn whole<'a>(config: &Config, weights: &'a Weights) -> Result<BTreeMap<String, &'a Stored>> {
        let Plan { found, missing, resized, .. } = Plan::new(&Model::empty(config, &Device::flex()), weights)?;
        let lacking: Vec<String> = missing.into_iter().chain(resized).collect();
        ensure!(
            lacking.is_empty(),
            "it lacks {}, or has them in another shape; it is no trained classifier for the labels of its config.json",
            shortened(&lacking)
        );
        Ok(found)
    }
}

/// Where each parameter of a model comes from, known before any numbers are read.
struct Plan<'a> {
    parameters: Vec<Named>,
    /// By parameter.
    found: BTreeMap<String, &'a Stored>,
    /// Parameters that the files lack.
    missing: Vec<String>,
    /// Those of the head that the files hold for another number of labels.
    resized: Vec<String>,
    /// What the files hold beyond the parameters.
    unexpected: Vec<String>,
}

impl<'a> Plan<'a> {
    fn new(model: &Model, weights: &'a Weights) -> Result<Self> {
        let (names, parameters) = (model.names(), model.parameters());
        let mut tensors = names.resolve(weights)?;
        let known = parameters.iter().any(|p| names.is_body(&p.name) && tensors.contains_key(&p.name));
        ensure!(
            known,
            "none of its tensors has a name of the `{}` family, such as {}; it has for example {}",
            model.config().model_type(),
            parameters[0].name,
            weights.tensors.keys().next().map_or("none", String::as_str)
        );
        let (mut found, mut missing, mut resized) = (BTreeMap::new(), Vec::new(), Vec::new());
        for Named { name, shape, .. } in &parameters {
            match tensors.remove(name) {
                Some(stored) if stored.shape == *shape => drop(found.insert(name.clone(), stored)),
                Some(stored) if names.is_body(name) => {
                    bail!("parameter {name} has shape {:?}; config.json asks for {shape:?}", stored.shape)
                }
                Some(_) => resized.push(name.clone()),
                None => missing.push(name.clone()),
            }
        }
        let unexpected = tensors.into_keys().filter(|name| !is_buffer(name)).collect();
        Ok(Plan { parameters, found, missing, resized, unexpected })
    }

    fn notes(&self, config: &Config, seed: u64) -> Vec<String> {
        let note =
            |names: &[String], what: String| (!names.is_empty()).then(|| format!("{what}: {}", shortened(names)));
        let labels = config.labels().len();
        let notes = [
            note(&self.missing, format!("not in the files, start fresh from seed {seed}")),
            note(&self.resized, format!("of another shape for {labels} labels, start fresh from seed {seed}")),
            note(&self.unexpected, "not used by a classifier, left out".into()),
        ];
        notes.into_iter().flatten().collect()
    }

    /// The values of every parameter in the layout of the module, read and made on all cores. Nothing beyond them and some
    /// kilobytes for each core is in memory.
    ///
    /// Those that `integers` has are left out.
    fn values(
        &self,
        config: &Config,
        seed: u64,
        integers: &BTreeMap<String, Integers>,
    ) -> Result<BTreeMap<String, Vec<f32>>> {
        let value = |p: &Named| {
            let values = match self.found.get(&p.name) {
                Some(stored) => weights::value(&p.name, stored, p.layout)?,
                None => init::fresh(&p.name, &p.shape, config, seed).into_layout(p.layout),
            };
            Ok((p.name.clone(), values))
        };
        let is_float = |p: &&Named| p.name.strip_suffix(WEIGHT).is_none_or(|linear| !integers.contains_key(linear));
        self.parameters.par_iter().filter(is_float).map(value).collect()
    }
}

fn non_zero(values: &[f32]) -> usize {
    values.iter().filter(|v| **v != 0.0).count()
}

/// That a head which is kept gets other labels than it was trained for; labels that are mere numbers say nothing.
fn relabelled(config: &Config) -> Result<Option<String>> {
    let own = config.own_labels()?;
    if own == config.labels() || own.iter().all(|label| label.starts_with("LABEL_")) {
        return Ok(None);
    }
    let pairs: Vec<String> = own.iter().zip(config.labels()).map(|(old, new)| format!("{old} → {new}")).collect();
    Ok(Some(format!("the head was trained for other labels, or in another order: {}", shortened(&pairs))))
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
mod tests;
