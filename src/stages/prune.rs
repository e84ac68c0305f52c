//! Remove the smallest weights of a model.

use anyhow::Context as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::base::copy_but_weights;
use super::types::MODEL;
use crate::engine::kind::{Context, Invalid, Port, Stage};
use crate::ml::model::config::Config;
use crate::ml::model::weights;
use crate::ml::prune::{Scope, magnitude};

/// Sets the smallest weights of a model's linear layers to zero (L1 magnitude); embeddings, LayerNorm and biases stay.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prune {
    /// Share of the weights set to zero, 0 ≤ sparsity < 1.
    sparsity: f64,
    /// Rank weights within each matrix (`local`) or across all of them (`global`).
    #[serde(default)]
    scope: Scope,
}

impl Stage for Prune {
    const KIND: &'static str = "prune";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("sparsity");
    const INPUTS: &'static [Port] = &[Port::one("model", MODEL)];
    const OUTPUTS: &'static [Port] = &[Port::one("model", MODEL)];

    fn check(&self) -> Vec<Invalid> {
        let wrong = !(0.0..1.0).contains(&self.sparsity);
        let invalid = || {
            Invalid::new("sparsity", format!("sparsity is {}; it must be at least 0 and below 1", self.sparsity))
                .help("0.3 sets 30 % of the weights to zero")
        };
        wrong.then(invalid).into_iter().collect()
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let dir = cx.input("model")?.dir.clone();
        let quantized = Config::open(&dir)?.quantization().is_some();
        anyhow::ensure!(!quantized, "the model is quantized; prune it before `quantize`");
        let mut tensors = weights::read(&weights::files(&dir)?)?;
        let report = magnitude(&mut tensors, self.sparsity, self.scope)?;
        cx.note(format!(
            "{} of {} weights in {} matrices are zero ({:.1} %)",
            report.zeroed,
            report.weights,
            report.layers.len(),
            100.0 * report.achieved
        ));
        cx.fact("sparsity", report.achieved);
        let out = cx.output("model")?;
        weights::write_f32(&out.join(weights::SINGLE), &tensors)?;
        copy_but_weights(&dir, &out, &[])?;
        let path = out.join("pruning.json");
        std::fs::write(&path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
