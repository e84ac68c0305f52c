//! Loads and saves model folders in the Hugging Face layout; initialises parameters that the files lack.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use rayon::prelude::*;
use safetensors::Dtype;

use super::classifier::Model;
use super::config::Config;
use super::init;
use super::integer;
use super::names::{WEIGHT, is_buffer};
use super::part::{Part, place};
use super::substitute::Integers;
use super::walk;
use super::walk::Named;
use crate::compute::device;
use crate::files::weights;
use crate::files::weights::stored::Stored;
use crate::files::weights::write::Shape;
use crate::files::weights::{Pair, Weights};

/// A model from a folder, with notes and warnings for the user.
#[derive(Debug)]
pub struct Loaded {
    pub model: Model,
    pub initialised: Initialised,
    /// The number of parameter values that are not zero.
    pub non_zero: usize,
    /// Names of tensors in the files that are not parameters of the model, usually a language model's head.
    pub unexpected: Vec<String>,
    /// What is as usual and worth a line, such as a head that starts from random weights.
    pub notes: Vec<String>,
    /// What may not be what the user expects, one line each.
    pub warnings: Vec<String>,
}

/// The folder of a model, the seed for missing parameters, and the arithmetic of its linear layers.
struct Origin<'a> {
    dir: &'a Path,
    seed: u64,
    product: Product,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Product {
    Floats,
    /// In integers, if the weights are integers.
    Integers,
}

/// Which parameters were initialised because the folder has no values for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initialised {
    Nothing,
    /// These parameters, by name: usually a head for other labels.
    Part(Vec<String>),
    /// All parameters: the folder has a config but no weights.
    Everything,
}

impl Model {
    /// Reads a folder with `config.json` and `model.safetensors` (single or sharded; f32, f16, bf16 or
    /// `pipe`'s int8, all computed in f32).
    ///
    /// `labels` are the labels to classify into; `None` keeps those of the config. If their number differs from
    /// that of the folder's head, the head's last layer is initialised from `seed`, as with `ignore_mismatched_sizes`.
    pub fn load(dir: &Path, labels: Option<&[String]>, seed: u64, device: &Device) -> Result<Loaded> {
        let config = Config::open(dir)?;
        let config = labels.map_or(config.clone(), |labels| config.with_labels(labels));
        Self::load_as(config, dir, seed, device)
    }

    /// Like [`Model::load`], with a config that may differ from the folder's: other labels, another head.
    pub fn load_as(config: Config, dir: &Path, seed: u64, device: &Device) -> Result<Loaded> {
        Self::load_from(Origin { dir, seed, product: Product::Floats }, config, device)
    }

    /// Reads a folder unchanged, for scoring: on the CPU, linear layers with integer weights compute in integers.
    pub fn load_to_score(dir: &Path, device: &Device) -> Result<Loaded> {
        let product = if device::is_cpu(device) { Product::Integers } else { Product::Floats };
        Self::load_from(Origin { dir, seed: 0, product }, Config::open(dir)?, device)
    }

    fn load_from(Origin { dir, seed, product }: Origin, config: Config, device: &Device) -> Result<Loaded> {
        let (mut notes, mut warnings) = (Vec::new(), Vec::new());
        if !config.unknown().is_empty() {
            let unknown = shortened(config.unknown());
            notes.push(format!("config.json has unknown fields, which have no effect: {unknown}"));
        }
        if let Some(problem) = config.other_problem() {
            warnings.push(format!("the head was trained for {problem}; pipe uses it to choose one label"));
        }
        let model = Model::empty(&config, device);
        let Some(weights) = Weights::open(dir)? else {
            let unread = weights::unread(dir);
            ensure!(
                unread.is_empty(),
                "model folder {} has {}, but neither {} nor {}, and no index of shards ({})",
                dir.display(),
                shortened(&unread),
                weights::SINGLE,
                weights::PICKLE,
                weights::INDEX
            );
            notes.push(format!("{} has no weights: all parameters are initialised from seed {seed}", dir.display()));
            let fresh = init::all(&model.parameters(), &config, seed);
            let non_zero = fresh.values().map(|tensor| non_zero(&tensor.data)).sum();
            let model = walk::fill(model, fresh)?.0;
            let initialised = Initialised::Everything;
            return Ok(Loaded { model, initialised, non_zero, unexpected: Vec::new(), notes, warnings });
        };
        let plan = Plan::new(&model, &weights).with_context(|| format!("loading the model in {}", dir.display()))?;
        plan.check_encoder().with_context(|| format!("loading the model in {}", dir.display()))?;
        let (usual, unusual) = plan.remarks(&model, seed);
        notes.extend(usual);
        warnings.extend(unusual);
        if !plan.missing.iter().chain(&plan.resized).any(|name| name.starts_with("classifier")) {
            warnings.extend(relabelled(&config)?);
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
        Ok(Loaded { model, initialised, non_zero, unexpected: plan.unexpected, notes, warnings })
    }

    /// Writes `config.json` and `model.safetensors` for `labels`; `from_pretrained` can load them.
    /// Fails if the model still has an adapter.
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

/// How the tensors of weight files match a model's parameters, by name and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Parameters that the files lack.
    pub missing: Vec<String>,
    /// Parameters of the head that the files have for another number of labels.
    pub resized: Vec<String>,
    /// Tensors of the files that are not parameters.
    pub unexpected: Vec<String>,
}

impl Match {
    /// Compares the files with the model as [`Model::load`] does, and fails if loading would fail.
    pub fn of(config: &Config, weights: &Weights) -> Result<Self> {
        let Plan { missing, resized, unexpected, .. } = Plan::new(&Model::empty(config, &Device::flex()), weights)?;
        Ok(Match { missing, resized, unexpected })
    }

    /// The stored tensor of every parameter; fails if a parameter is missing or has another shape.
    pub fn whole<'a>(config: &Config, weights: &'a Weights) -> Result<BTreeMap<String, &'a Stored>> {
        let Plan { found, missing, resized, .. } = Plan::new(&Model::empty(config, &Device::flex()), weights)?;
        let lacking: Vec<String> = missing.into_iter().chain(resized).collect();
        ensure!(
            lacking.is_empty(),
            "it lacks {}, or has them in another shape; it is not a trained classifier for the labels in its config.json",
            shortened(&lacking)
        );
        Ok(found)
    }
}

/// The source of each parameter of a model, determined before any values are read.
struct Plan<'a> {
    parameters: Vec<Named>,
    /// Stored tensors by the name of their parameter.
    found: BTreeMap<String, &'a Stored>,
    /// Parameters that the files lack.
    missing: Vec<String>,
    /// Parameters of the head that the files have for another number of labels.
    resized: Vec<String>,
    /// Tensors of the files that are not parameters.
    unexpected: Vec<String>,
}

impl<'a> Plan<'a> {
    fn new(model: &Model, weights: &'a Weights) -> Result<Self> {
        let (names, parameters) = (model.config().family.names(), model.parameters());
        let mut tensors = names.resolve(weights)?;
        let known = parameters.iter().any(|p| names.is_body(&p.name) && tensors.contains_key(&p.name));
        ensure!(
            known,
            "no tensor has a name of the `{}` family, such as {}; the files contain, for example, {}",
            model.config().model_type(),
            parameters[0].name,
            weights.tensors.keys().next().map_or("no tensors", String::as_str)
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

    /// Fails if tensors of the encoder are missing and others of an encoder are left over: then names were changed in a
    /// way that is not known, and the encoder would start from random values although the files hold it.
    fn check_encoder(&self) -> Result<()> {
        let of_encoder = |names: &[String]| -> Vec<String> {
            names.iter().filter(|name| place(name).part != Part::Head).cloned().collect()
        };
        let (missing, left) = (of_encoder(&self.missing), of_encoder(&self.unexpected));
        ensure!(
            missing.is_empty() || left.is_empty(),
            "the files lack {} tensors of the encoder ({}), but have {} others that look like an encoder's ({}); they \
             seem to be named differently: save the model again with `save_pretrained` of transformers, or rename them",
            missing.len(),
            shortened(&missing),
            left.len(),
            shortened(&left)
        );
        Ok(())
    }

    /// Notes and warnings about the tensors that only the files or only the model has.
    ///
    /// A pretrained encoder has a language model's head instead of a classifier: this is usual. But if tensors of the
    /// encoder start from random values, or the head is replaced, the model is not the one in the files.
    fn remarks(&self, model: &Model, seed: u64) -> (Vec<String>, Vec<String>) {
        let line =
            |names: &[String], what: String| (!names.is_empty()).then(|| format!("{what}: {}", shortened(names)));
        let unmatched = [
            line(&self.missing, format!("not in the files, initialised from seed {seed}")),
            line(&self.unexpected, "not used by a classifier, ignored".into()),
        ];
        let unmatched = unmatched.into_iter().flatten().collect();
        let is_usual = !self.missing.iter().any(|name| model.config().family.names().is_body(name));
        let (notes, mut warnings) = if is_usual { (unmatched, Vec::new()) } else { (Vec::new(), unmatched) };
        let labels = model.config().labels().len();
        warnings.extend(line(&self.resized, format!("wrong shape for {labels} labels, initialised from seed {seed}")));
        (notes, warnings)
    }

    /// Reads or initialises the values of every parameter on all cores, in the layout of the module. It needs only a
    /// few kilobytes per core beyond the values.
    ///
    /// Skips the weights of the layers in `integers`.
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

/// A warning if the head keeps its weights but gets other labels than it was trained for; default names (`LABEL_0`) are ignored.
fn relabelled(config: &Config) -> Result<Option<String>> {
    let own = config.own_labels()?;
    if own == config.labels() || own.iter().all(|label| label.starts_with("LABEL_")) {
        return Ok(None);
    }
    let pairs: Vec<String> = own.iter().zip(config.labels()).map(|(old, new)| format!("{old} → {new}")).collect();
    Ok(Some(format!("the head was trained for other labels or another label order: {}", shortened(&pairs))))
}

/// Lists at most six names, so that a note fits on one line.
pub fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
