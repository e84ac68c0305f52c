//! [`Model`]: a text classifier of any family, with what holds for all of them.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::{Bool, Device, Gradients, Tensor};

use super::config::Config;
use super::encoder::Layers;
use super::family::{AnyNetwork, each};
use super::init;
use super::linear::Linear;
use super::network::Network;
use super::part::{Part, place};
use super::walk;
use super::walk::{Named, Parameters};
use crate::compute::dropout::Pass;
use crate::files::host::HostTensors;
use crate::text::ids::Ids;

/// The input of a layer.
#[derive(Debug, Clone)]
pub struct Hidden {
    /// `[B·T, H]`
    pub x: Tensor<2>,
    /// DeBERTa's embeddings of distances, `[R, H]`, the same for every layer.
    pub rows: Option<Tensor<2>>,
}

/// A text classifier of one of the supported families.
#[derive(Module, Debug)]
pub struct Model {
    network: AnyNetwork,
    #[module(skip)]
    config: Config,
}

impl Parameters for Model {
    const AROUND: &'static [&'static str] = &["network"];
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
        Model { network: config.family.build(config.head_config(), device), config: config.clone() }
    }

    /// `ids` `[B, T]`, `mask` `[B, T]` (true = a real token) → logits `[B, C]`.
    ///
    /// For gradients, create the model and the batch on `device.autodiff()`. For evaluation,
    /// use [`Module::valid`] and [`Pass::Off`], which also uses the fused kernels. The caller must cut tokens
    /// beyond [`Config::max_length`], which have no position.
    pub fn forward(&self, ids: impl Into<Ids>, mask: Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        let ids = ids.into();
        each!(AnyNetwork, &self.network, network => network.forward(ids, mask, pass))
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
        &self.config
    }

    /// Replaces the label names; their number must match the number of logits.
    pub fn set_labels(&mut self, labels: &[String]) {
        self.config = self.config.clone().with_labels(labels);
    }

    /// Applies `change` to every `Linear` with its Hugging Face name.
    pub fn map_linears(&mut self, change: &mut dyn FnMut(&str, &mut Linear)) {
        each!(AnyNetwork, &mut self.network, network => network.map_linears(change));
    }
}

/// The forward pass in pieces: embeddings, layer after layer, head. Called in order with the same `pass`, these functions give
/// the result of [`Model::forward`]. `mask` is `[B, T]`, true = a real token.
impl Model {
    /// The number of encoder layers.
    pub fn depth(&self) -> usize {
        each!(AnyNetwork, &self.network, network => network.encoder().depth())
    }

    /// `ids` `[B, T]` → the input of the first layer.
    pub fn embed(&self, ids: Ids, mask: &Tensor<2, Bool>, pass: &mut Pass) -> Hidden {
        let [_, length] = ids.dims();
        each!(AnyNetwork, &self.network, network => {
            Hidden { x: network.embed(ids, mask, pass), rows: network.encoder().rows(length) }
        })
    }

    /// Layer `i`: its input → its output `[B·T, H]`.
    pub fn layer(&self, i: usize, hidden: Hidden, mask: &Tensor<2, Bool>, pass: &mut Pass) -> Tensor<2> {
        each!(AnyNetwork, &self.network, network => {
            let encoder = network.encoder();
            encoder.layer(i, hidden.x, &encoder.shared(mask, hidden.rows), pass)
        })
    }

    /// Like [`layer`](Self::layer), with the attention scores before the softmax, `[B, h, T, T]`.
    pub fn layer_with_scores(
        &self,
        i: usize,
        hidden: Hidden,
        mask: &Tensor<2, Bool>,
        pass: &mut Pass,
    ) -> (Tensor<2>, Tensor<4>) {
        each!(AnyNetwork, &self.network, network => {
            let encoder = network.encoder();
            encoder.layer_with_scores(i, hidden.x, &encoder.shared(mask, hidden.rows), pass)
        })
    }

    /// The last layer's output `x` `[B·T, H]` for `batch` rows → logits `[B, C]`.
    pub fn head(&self, x: Tensor<2>, batch: usize, pass: &mut Pass) -> Tensor<2> {
        each!(AnyNetwork, &self.network, network => network.head(x, batch, pass))
    }

    /// The lowest piece with trainable parameters, counted from the embeddings (0) over the layers to the head; pieces below it
    /// need no backward pass. `None` if nothing is trainable.
    pub fn lowest_trained(&self) -> Option<usize> {
        let trained = self.parameters().into_iter().filter(|named| named.trainable);
        let piece = |part| match part {
            // The first layer already uses the parameters that all layers share.
            Part::Embeddings | Part::Encoder => 0,
            Part::Layer(layer) => layer + 1,
            Part::Head => self.depth() + 1,
        };
        trained.map(|named| piece(place(&named.name).part)).min()
    }
}
