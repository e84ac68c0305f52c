//! Puts adapters on the linear layers of a model, and takes them off.

use anyhow::{Result, bail, ensure};
use burn::module::Param;
use burn::tensor::{Tensor, TensorData};

use crate::model::adapter::{LoraConfig, Targets};
use crate::model::linear::{Linear, Lora};
use crate::model::modules::{is_end, kinds};
use crate::model::{Model, init};

impl Model {
    /// Add an adapter to every target and freeze everything except the adapters and the head.
    ///
    /// `A` starts as PEFT draws it (uniform within `1/√in`), from `seed`; `B` starts at zero, so the
    /// logits do not change yet.
    pub fn add_lora(mut self, config: &LoraConfig, seed: u64) -> Result<Self> {
        config.check()?;
        ensure!(
            !self.parameters().iter().any(|p| p.name.contains(".lora_")),
            "the model already has an adapter; merge it first"
        );
        let mut modules = Vec::new();
        let mut matched = 0;
        self.map_linears(&mut |name, linear| {
            if config.is_saved(name) {
                return;
            }
            modules.push(name.to_owned());
            if config.targets.matches(name) {
                matched += 1;
                linear.lora = Some(fresh(name, linear, config, seed));
            }
        });
        let listed = || kinds(modules.iter().map(String::as_str), "N");
        let idle = |target: &&String| !modules.iter().any(|module| is_end(target, module));
        let unmatched: Vec<&String> = match &config.targets {
            Targets::Names(names) => names.iter().filter(idle).collect(),
            Targets::Pattern(_) | Targets::All => Vec::new(),
        };
        ensure!(
            unmatched.is_empty(),
            "lora: target {} matches no linear module outside the head; there are {}",
            unmatched.iter().map(|target| format!("`{target}`")).collect::<Vec<_>>().join(", "),
            listed()
        );
        ensure!(
            matched > 0,
            "lora: the target pattern {} matches no linear module outside the head; there are {}",
            config.targets.to_json(),
            listed()
        );
        let parameters = self.parameters();
        let has = |module: &String| parameters.iter().any(|p| p.name.contains(&format!("{module}.")));
        if let Some(missing) = config.modules_to_save.iter().find(|module| !has(module)) {
            bail!("lora: modules-to-save names `{missing}`, but the model has no such module");
        }
        Ok(self.set_trainable(|name| name.contains(".lora_") || config.is_saved(name)))
    }

    /// Add every adapter to its weight: the same logits at the cost of the plain model. All
    /// parameters are trainable again.
    pub fn merge_lora(mut self) -> Self {
        self.map_linears(&mut |_, linear| *linear = linear.clone().merge(1.0));
        self.set_trainable(|_| true)
    }

    /// Subtract every adapter from its weight. This gives the base back, apart from rounding. The head keeps its
    /// trained weights.
    pub fn unmerge_lora(mut self) -> Self {
        self.map_linears(&mut |_, linear| *linear = linear.clone().merge(-1.0));
        self.set_trainable(|_| true)
    }
}

fn fresh(name: &str, linear: &Linear, config: &LoraConfig, seed: u64) -> Lora {
    let [inputs, outputs] = linear.matrix.lazy_shape().dims();
    let device = linear.matrix.lazy_device();
    let rank = config.rank;
    // Drawn in the layout of the file, [r, in].
    let a = init::uniform(&format!("{name}.lora_A.weight"), rank * inputs, (inputs as f64).powf(-0.5), seed);
    let a = Tensor::<2>::from_data(TensorData::new(a, [rank, inputs]), &device).transpose();
    Lora {
        a: Param::from_tensor(a),
        b: Param::from_tensor(Tensor::zeros([rank, outputs], &device)),
        scale: config.scale(),
        dropout: config.dropout,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
