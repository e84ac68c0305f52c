//! Removes the smallest weights of a model.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::base;
use super::shared::base::copy_but_weights;
use super::shared::labels::model_for;
use super::shared::layers::Layers;
use super::shared::lineage::{Lineage, Step};
use super::shared::other_names;
use super::shared::recovery;
use super::shared::recovery::{PrunedModel, Recovery};
use super::shared::removal;
use super::shared::removal::{Structure, Wanted};
use super::shared::tokenizers;
use super::shared::training::WithTraining;
use super::shared::types::{MODEL, TOKENS};
use pipe_engine::contract::ahead::Ahead;
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Invalid, Labels, Need, Port, Resource, Stage};
use pipe_engine::text::other_names::OtherName;
use pipe_ml::compress::prune::{Gradual, Method, Pattern, PruneReport, Pruning, Scope, Target};
use pipe_ml::files::weights;
use pipe_ml::model::config::Config;
use pipe_ml::train::fit::Hyperparameters;

/// Sets the smallest weights of a model's linear layers to zero (L1 magnitude); embeddings, LayerNorm and biases are
/// not pruned. With `structure` or `layers`, removes whole neurons or layers instead, which makes the model smaller and
/// faster. With `recover-epochs`, trains the pruned model.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PruneParameters {
    /// Share of the weights set to zero, 0 ≤ sparsity < 1. A `pattern` determines it. With `structure`: the share of
    /// neurons to remove from each layer.
    #[serde(default)]
    sparsity: Option<f64>,
    /// n:m sparsity: `"2:4"` keeps at most 2 of every 4 consecutive inputs of each neuron. 1 ≤ n < m ≤ 32.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pattern: Option<Pattern>,
    /// Rank weights within each matrix (`local`) or across all of them (`global`).
    #[serde(default)]
    scope: Scope,
    /// Layers to prune: `"ffn"`, `"attention"`, `"head"`, or modules by the end of their name, with `*` for any
    /// characters, such as `"layer.*.attention.*.query"`. Default: all linear layers.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    targets: Option<Vec<Target>>,
    /// Raise the sparsity in this many `steps` over the first half of the recovery training (`until` sets another
    /// share), fast at first (Zhu and Gupta, 2017): `{ steps = 10 }`. Default: prune everything before the first
    /// training step.
    #[serde(default)]
    gradual: Option<Gradual>,
    /// What to remove instead of single weights: `["ffn"]`, the feed-forward neurons that matter least to the loss on
    /// the validation rows of `in.tokens`.
    #[serde(default)]
    structure: Option<Vec<Structure>>,
    /// The most validation rows used to measure which neurons matter, for `structure`. Default: 256.
    #[serde(default)]
    calibration: Option<usize>,
    /// Encoder layers to keep: their number, evenly spaced from the first, or a list counted from 0, such as `[0, 2,
    /// 4]`. The others are dropped, before `structure` applies.
    #[serde(default)]
    layers: Option<Layers>,
}

/// More rows take longer and hardly change the ranking.
const CALIBRATION: usize = 256;

pub type Prune = WithTraining<PruneParameters, Recovery>;

impl Stage for Prune {
    const KIND: &'static str = "prune";
    // 3: the folder says how texts were cleaned and how the model was made; labels are matched by name.
    const VERSION: u32 = 3;
    const OTHER_NAMES: &'static [OtherName] = other_names::STUDENT;
    const MAIN: Option<&'static str> = Some("sparsity");
    const INPUTS: &'static [Port] = &[Port::one("model", MODEL), Port::optional("tokens", TOKENS)];
    const OUTPUTS: &'static [Port] = &[Port::one("model", MODEL)];
    const SEEDED: bool = true;
    const OPERATIONAL: &'static [&'static str] = Hyperparameters::OPERATIONAL;

    fn is_seeded(&self) -> bool {
        self.training.training().is_some()
    }

    fn resource(&self) -> Resource {
        if self.training.training().is_some() || self.own.is_structured() { Resource::Device } else { Resource::Cpu }
    }

    fn check(&self) -> Vec<Invalid> {
        let mut wrong = if self.own.is_structured() { self.own.check_structured() } else { self.own.check() };
        if self.own.gradual.is_some() && self.training.training().is_none() {
            wrong.push(
                Invalid::new("gradual", format!("`gradual` needs recovery training, but {} is 0", recovery::KEY))
                    .help(format!("add `{} = 1` and `in.tokens`", recovery::KEY)),
            );
        }
        if self.own.calibration.is_some() && self.own.structure.is_none() {
            wrong.push(
                Invalid::new("calibration", "`calibration` is set, but without `structure` nothing is measured")
                    .help("add `structure = [\"ffn\"]`, or leave out `calibration`"),
            );
        }
        wrong.into_iter().chain(self.training.check()).collect()
    }

    fn check_inputs(&self, labels: &Labels) -> Vec<Invalid> {
        let is_idle = labels.contains_key("tokens") && self.needs().is_empty();
        let invalid = || {
            Invalid::new("tokens", "`in.tokens` is set, but the stage neither trains nor measures")
                .help(format!("add `{} = 1` to train the pruned model, or leave out `in.tokens`", recovery::KEY))
        };
        is_idle.then(invalid).into_iter().collect()
    }

    fn check_ahead(&self, stage: &Ahead) -> Vec<Invalid> {
        tokenizers::check_model(stage, "model", "tokens").into_iter().collect()
    }

    fn needs(&self) -> Vec<Need> {
        let importance = self.own.structure.as_ref().map(|_| Need { port: "tokens", key: "structure" });
        importance.map_or_else(|| self.training.needs(), |need| vec![need])
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        let dir = cx.input("model")?.dir.clone();
        let quantized = Config::open(&dir)?.quantization().is_some();
        ensure!(!quantized, "the model is quantized; prune it before `quantize`");
        if self.own.is_structured() {
            return removal::run(cx, &self.own.wanted(), self.training.training(), Step::of(self)?);
        }
        let out = cx.output("model")?;
        let pruning = self.own.pruning();
        let step = Step::of(self)?;
        let report = match self.training.training() {
            None => {
                let report = at_once(&pruning, &dir, &out)?;
                Lineage::open(&dir).then(step).write(&out)?;
                report
            }
            Some(training) => recovered(cx, pruning, training, step)?,
        };
        let zeros = format!(
            "{} of {} weights in {} matrices are zero ({:.1} %)",
            report.zeroed,
            report.weights,
            report.layers.len(),
            100.0 * report.achieved
        );
        Lineage::note(&out, &zeros)?;
        cx.note(zeros);
        cx.fact("sparsity", report.achieved);
        let path = out.join("pruning.json");
        std::fs::write(&path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Prune the model in `dir`, and copy everything except its weights.
fn at_once(pruning: &Pruning, dir: &Path, out: &Path) -> Result<PruneReport> {
    let mut tensors = weights::read(&weights::files(dir)?)?;
    let report = pruning.prune(&mut tensors)?;
    weights::write_f32(&out.join(weights::SINGLE), &tensors)?;
    copy_but_weights(dir, out, &[])?;
    Ok(report)
}

/// Prune the model and train it.
fn recovered(cx: &mut Context, pruning: Pruning, training: &Hyperparameters, step: Step) -> Result<PruneReport> {
    let dir = cx.input("model")?.dir.clone();
    let tokens = base::tokens_for(&dir, cx)?;
    let device = base::device(cx)?;
    let model = model_for(cx, &dir, &tokens, &device, "the model")?.model;
    let lineage = Lineage::open(&dir);
    let pruned = PrunedModel { model, tokens: &tokens, device: &device, pruning: pruning.clone(), lineage, step };
    let (model, recovery) = recovery::recover(cx, pruned, training)?;
    Ok(PruneReport { recovery: Some(recovery), ..pruning.report(&model.to_host()?)? })
}

impl PruneParameters {
    fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        match (self.sparsity, self.pattern) {
            (None, None) => {
                wrong.push(Invalid::new("sparsity", "neither `sparsity` nor `pattern` is set").help(
                    "`sparsity = 0.3` sets 30 % of the weights to zero; `pattern = \"2:4\"` sets two of every four",
                ))
            }
            (Some(_), None) => wrong.extend(self.check_sparsity()),
            (Some(sparsity), Some(pattern)) if (sparsity - pattern.sparsity()).abs() > 1e-9 => wrong.push(
                Invalid::new(
                    "sparsity",
                    format!("sparsity is {sparsity}, but the pattern {pattern} gives {}", pattern.sparsity()),
                )
                .help("leave out `sparsity` or `pattern`"),
            ),
            _ => {}
        }
        if let (Some(pattern), Scope::Global) = (self.pattern, self.scope) {
            wrong.push(
                Invalid::new(
                    "scope",
                    format!("scope is global, but the pattern {pattern} applies to each group of inputs"),
                )
                .help("leave out `scope`"),
            );
        }
        if self.targets.as_ref().is_some_and(Vec::is_empty) {
            wrong.push(
                Invalid::new("targets", "targets is empty; name at least one layer, such as \"ffn\"")
                    .help("without `targets`, all linear layers are pruned"),
            );
        }
        if let Some(Err(error)) = self.gradual.map(Gradual::check) {
            wrong.push(Invalid::new("gradual", error.to_string()));
        }
        if let (Some(pattern), Some(_)) = (self.pattern, self.gradual) {
            wrong.push(
                Invalid::new("gradual", format!("the pattern {pattern} cannot be reached gradually"))
                    .help("leave out `gradual`, or set `sparsity` instead of `pattern`"),
            );
        }
        wrong
    }

    /// Whether to remove parts of the model and not single weights.
    fn is_structured(&self) -> bool {
        self.structure.is_some() || self.layers.is_some()
    }

    fn check_structured(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        let asked = if self.structure.is_none() { "layers" } else { "structure" };
        for (key, is_given) in [
            ("pattern", self.pattern.is_some()),
            ("scope", self.scope == Scope::Global),
            ("targets", self.targets.is_some()),
            ("gradual", self.gradual.is_some()),
        ] {
            if is_given {
                let message = format!("`{key}` and `{asked}` are both set");
                wrong.push(Invalid::new(key, message).help(format!(
                    "`{key}` applies to single weights, `{asked}` removes whole parts: use a separate stage for each"
                )));
            }
        }
        if self.structure.as_ref().is_some_and(Vec::is_empty) {
            wrong.push(Invalid::new("structure", "structure is empty; write [\"ffn\"]"));
        }
        if self.structure.iter().flatten().any(|part| *part == Structure::Heads) {
            wrong.push(Invalid::new("structure", format!("structure has \"heads\": {}", Structure::NO_HEADS)).help(
                "`structure = [\"ffn\"]` removes feed-forward neurons, which make up two thirds of a layer's work",
            ));
        }
        match (self.sparsity, self.structure.is_none()) {
            (None, false) => wrong.push(
                Invalid::new("structure", "`structure` is set, but no share to remove")
                    .help("add `sparsity`: 0.4 removes 40 % of each layer's neurons"),
            ),
            (Some(_), true) => {
                wrong.push(Invalid::new("sparsity", "`sparsity` has no effect with `layers` alone").help(
                    "add `structure = [\"ffn\"]`, or set single weights to zero in a separate stage after this one",
                ))
            }
            _ => wrong.extend(self.check_sparsity()),
        }
        wrong.extend(self.layers.as_ref().and_then(Layers::check));
        if self.calibration == Some(0) {
            wrong.push(Invalid::new("calibration", "calibration is 0; at least 1 row is needed"));
        }
        wrong
    }

    fn check_sparsity(&self) -> Option<Invalid> {
        let sparsity = self.sparsity.filter(|sparsity| !(0.0..1.0).contains(sparsity))?;
        let message = format!("sparsity is {sparsity}; it must be at least 0 and below 1");
        Some(Invalid::new("sparsity", message).help("0.3 sets 30 % of the weights to zero"))
    }

    fn wanted(&self) -> Wanted<'_> {
        let share = self.sparsity.filter(|_| self.structure.is_some());
        Wanted { layers: self.layers.as_ref(), share, calibration: self.calibration.unwrap_or(CALIBRATION) }
    }

    fn pruning(&self) -> Pruning {
        let magnitude = || Method::Magnitude { sparsity: self.sparsity.unwrap_or(0.0), scope: self.scope };
        Pruning {
            method: self.pattern.map_or_else(magnitude, Method::Pattern),
            targets: self.targets.clone().unwrap_or_default(),
            gradual: self.gradual,
        }
    }
}

#[cfg(test)]
mod tests {
    use pipe_engine::text::parameters::Parameters as _;

    use super::*;

    #[test]
    fn the_documented_number_of_rows_is_the_default() {
        let schema = Prune::schema();
        let text = schema.pointer("/properties/calibration/description").and_then(|text| text.as_str()).unwrap();
        assert!(text.ends_with(&format!("Default: {CALIBRATION}.")), "{text}");
    }
}
