//! Text classifiers: one file per family, and [`Model`], which all families share.

pub(crate) mod activation;
pub mod bert;
pub mod config;
pub(crate) mod conv;
pub mod deberta;
pub mod distilbert;
pub mod embedding;
pub mod encoder;
mod fields;
#[cfg(test)]
pub(crate) mod fixture;
mod freeze;
pub mod head;
pub mod init;
pub mod integer;
pub mod linear;
mod load;
pub mod modules;
mod names;
pub mod norm;
#[cfg(test)]
mod parity;
pub mod part;
pub mod pieces;
pub mod quantization;
pub mod roberta;
pub mod walk;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::{Bool, Device, Gradients, Int, Tensor};

pub use crate::files::host::{HostTensor, HostTensors};
pub use config::{Config, Family};

pub use load::{Initialised, Loaded, Match, shortened};
pub use walk::Named;

use crate::compute::dropout::Pass;

/// A text classifier of one of the supported families.
#[derive(Module, Debug)]
pub enum Model {
    Roberta(roberta::Roberta),
    Bert(bert::Bert),
    Deberta(deberta::Deberta),
    DistilBert(distilbert::DistilBert),
}

impl Model {
    /// A model with weights initialised from `seed`, the same on every machine and device.
    ///
    /// For training, pass `device.autodiff()` here and for the batches; otherwise there are no
    /// gradients.
    pub fn init(config: &Config, seed: u64, device: &Device) -> Result<Self> {
        let model = Self::empty(config, device);
        let fresh = init::all(&model.parameters(), config, seed);
        Ok(walk::fill(model, fresh)?.0)
    }

    /// A model with the values of [`Model::to_host`], which must include every parameter of this config.
    pub fn with_values(config: &Config, host: HostTensors, device: &Device) -> Result<Self> {
        Self::empty(config, device).from_host(host)
    }

    /// The parameters of a model with this config; allocates no values.
    pub fn outline(config: &Config) -> Vec<Named> {
        Self::empty(config, &Device::flex()).parameters()
    }

    /// A model whose parameters allocate no memory until they are filled in.
    pub(crate) fn empty(config: &Config, device: &Device) -> Self {
        match &config.family {
            Family::Roberta(own) => Model::Roberta(roberta::Roberta::empty(config, own, device)),
            Family::Bert(own) => Model::Bert(bert::Bert::empty(config, own, device)),
            Family::Deberta(own) => Model::Deberta(deberta::Deberta::empty(config, own, device)),
            Family::DistilBert(own) => Model::DistilBert(distilbert::DistilBert::empty(config, own, device)),
        }
    }

    /// `ids` `[B, T]`, `mask` `[B, T]` (true = a real token) → logits `[B, C]`.
    ///
    /// For gradients, create the model and the batch on `device.autodiff()`. For evaluation,
    /// use [`Module::valid`] and [`Pass::Off`], which also uses the fused kernels. The caller must cut tokens
    /// beyond [`Config::max_length`], which have no position.
    pub fn forward(&self, ids: Tensor<2, Int>, mask: Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        match self {
            Model::Roberta(model) => model.forward(ids, mask, pass),
            Model::Bert(model) => model.forward(ids, mask, pass),
            Model::Deberta(model) => model.forward(ids, mask, pass),
            Model::DistilBert(model) => model.forward(ids, mask, pass),
        }
    }

    /// Every parameter with its Hugging Face name, in a fixed order.
    pub fn parameters(&self) -> Vec<Named> {
        walk::list(self)
    }

    /// The number of parameter values, including adapters.
    pub fn count(&self) -> usize {
        self.parameters().iter().map(Named::size).sum()
    }

    /// The number of parameter values that training changes.
    pub fn count_trainable(&self) -> usize {
        self.parameters().iter().filter(|p| p.trainable).map(Named::size).sum()
    }

    /// Copies the parameters into main memory, by name, in the layout of the files.
    pub fn to_host(&self) -> Result<HostTensors> {
        walk::to_host(self)
    }

    /// Replaces the values by those of [`Model::to_host`]; names and shapes must match the
    /// model. Ids and the set of trainable parameters do not change.
    pub fn from_host(self, host: HostTensors) -> Result<Self> {
        let parameters = self.parameters();
        let missing = parameters.iter().map(|p| &p.name).find(|name| !host.contains_key(*name));
        ensure!(missing.is_none(), "no values for parameter {}", missing.map_or("", String::as_str));
        let (model, unknown) = walk::fill(self, host)?;
        ensure!(unknown.is_empty(), "values for {}, which the model does not have", unknown.join(", "));
        Ok(model)
    }

    /// Limits training to the parameters whose name `wanted` accepts.
    /// The others get no gradients.
    pub fn set_trainable(self, wanted: impl FnMut(&str) -> bool) -> Self {
        walk::set_trainable(self, wanted)
    }

    /// The L2 norm of each parameter's gradient, by name; parameters without one are left out.
    pub fn gradient_norms(&self, gradients: &Gradients) -> Result<BTreeMap<String, f64>> {
        walk::gradient_norms(self, gradients)
    }

    pub fn config(&self) -> &Config {
        match self {
            Model::Roberta(model) => &model.config,
            Model::Bert(model) => &model.config,
            Model::Deberta(model) => &model.config,
            Model::DistilBert(model) => &model.config,
        }
    }

    /// Replaces the label names; their number must match the number of logits.
    pub fn set_labels(&mut self, labels: &[String]) {
        match self {
            Model::Roberta(model) => model.config = model.config.clone().with_labels(labels),
            Model::Bert(model) => model.config = model.config.clone().with_labels(labels),
            Model::Deberta(model) => model.config = model.config.clone().with_labels(labels),
            Model::DistilBert(model) => model.config = model.config.clone().with_labels(labels),
        }
    }

    /// Applies `change` to every [`linear::Linear`] with its Hugging Face name.
    pub fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut linear::Linear)) {
        match self {
            Model::Roberta(model) => model.map_linears(change),
            Model::Bert(model) => model.map_linears(change),
            Model::Deberta(model) => model.map_linears(change),
            Model::DistilBert(model) => model.map_linears(change),
        }
    }
}
