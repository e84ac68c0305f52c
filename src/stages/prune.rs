//! Remove the smallest weights of a model.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::base;
use super::base::copy_but_weights;
use super::layers::Layers;
use super::recovery;
use super::recovery::{Patient, Recovery};
use super::removal;
use super::removal::{Structure, Wanted};
use super::training;
use super::training::{Trained, Training};
use super::types::{MODEL, TOKENS};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Invalid, Labels, Need, Port, Resource, Stage};
use pipe_ml::compress::prune::{Gradual, Method, Pattern, PruneReport, Pruning, Scope, Target};
use pipe_ml::files::weights;
use pipe_ml::model::Model;
use pipe_ml::model::config::Config;

/// Sets the smallest weights of a model's linear layers to zero (L1 magnitude); embeddings, LayerNorm and biases are not
/// pruned. With `structure` or `layers`, removes neurons or whole layers in their place, so that the model becomes smaller and
/// faster. With `recover-epochs`, trains what is left.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Own {
    /// Share of the weights set to zero, 0 ≤ sparsity < 1. Where `pattern` is given, it follows from that. With `structure`: share of
    /// what that names which is removed, of each layer.
    #[serde(default)]
    sparsity: Option<f64>,
    /// n:m sparsity: `"2:4"` leaves each neuron at most 2 of each 4 consecutive inputs. 1 ≤ n < m ≤ 32.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pattern: Option<Pattern>,
    /// Rank weights within each matrix (`local`) or across all of them (`global`).
    #[serde(default)]
    scope: Scope,
    /// Which layers: `"ffn"`, `"attention"`, `"head"`, or modules by the end of their name with `*` for any characters, such as
    /// `"layer.*.attention.*.query"`. Default: all linear layers.
    #[serde(default)]
    #[schemars(with = "Option<Vec<String>>")]
    targets: Option<Vec<Target>>,
    /// Let the sparsity rise in so many `steps` over the first half of the recovery training (or `until` another share of it),
    /// fast at first (Zhu and Gupta, 2017): `{ steps = 10 }`. Default: all is removed before the first step.
    #[serde(default)]
    gradual: Option<Gradual>,
    /// What to remove for good in the place of single weights: `["ffn"]`, the neurons of the feed-forward halves that matter
    /// least to the loss on the validation rows of `in.tokens`.
    #[serde(default)]
    structure: Option<Vec<Structure>>,
    /// Rows of the validation split that tell which neurons matter, at most. For `structure`. Default: 256.
    #[serde(default)]
    calibration: Option<usize>,
    /// Encoder layers that stay: so many, evenly spaced from the first, or `[0, 2, 4]`, counted from 0; the others are dropped.
    /// By itself, or before `structure`.
    #[serde(default)]
    layers: Option<Layers>,
}

/// Enough for a ranking that more rows hardly change, in seconds.
const CALIBRATION: usize = 256;

pub type Prune = Trained<Own, Recovery>;

impl Stage for Prune {
    const KIND: &'static str = "prune";
    const VERSION: u32 = 2;
    const MAIN: Option<&'static str> = Some("sparsity");
    const INPUTS: &'static [Port] = &[Port::one("model", MODEL), Port::optional("tokens", TOKENS)];
    const OUTPUTS: &'static [Port] = &[Port::one("model", MODEL)];
    const SEEDED: bool = true;
    const OPERATIONAL: &'static [&'static str] = training::OPERATIONAL;

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
                Invalid::new("gradual", format!("gradual needs training to go with, and {} is 0", recovery::KEY))
                    .help(format!("add `{} = 1` and `in.tokens`", recovery::KEY)),
            );
        }
        if self.own.calibration.is_some() && self.own.structure.is_none() {
            wrong.push(
                Invalid::new("calibration", "`calibration` is given, but nothing is measured on its rows")
                    .help("add `structure = [\"ffn\"]`, or leave `calibration` out"),
            );
        }
        wrong.into_iter().chain(self.training.check()).collect()
    }

    fn check_inputs(&self, labels: &Labels) -> Vec<Invalid> {
        let is_idle = labels.contains_key("tokens") && self.needs().is_empty();
        let invalid = || {
            Invalid::new("tokens", "`in.tokens` is wired, but nothing is trained or measured on its rows")
                .help(format!("add `{} = 1` to train what is left, or leave it out", recovery::KEY))
        };
        is_idle.then(invalid).into_iter().collect()
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
            return removal::run(cx, &self.own.wanted(), self.training.training());
        }
        let out = cx.output("model")?;
        let pruning = self.own.pruning();
        let report = match self.training.training() {
            None => at_once(&pruning, &dir, &out)?,
            Some(training) => recovered(cx, pruning, training)?,
        };
        cx.note(format!(
            "{} of {} weights in {} matrices are zero ({:.1} %)",
            report.zeroed,
            report.weights,
            report.layers.len(),
            100.0 * report.achieved
        ));
        cx.fact("sparsity", report.achieved);
        let path = out.join("pruning.json");
        std::fs::write(&path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Prunes the model in `dir`; everything but its weights is copied.
fn at_once(pruning: &Pruning, dir: &Path, out: &Path) -> Result<PruneReport> {
    let mut tensors = weights::read(&weights::files(dir)?)?;
    let report = pruning.prune(&mut tensors)?;
    weights::write_f32(&out.join(weights::SINGLE), &tensors)?;
    copy_but_weights(dir, out, &[])?;
    Ok(report)
}

/// Prunes the model and trains it.
fn recovered(cx: &mut Context, pruning: Pruning, training: &Training) -> Result<PruneReport> {
    let dir = cx.input("model")?.dir.clone();
    let tokens = base::tokens_for(&dir, cx)?;
    let device = base::device(cx)?;
    let model = Model::load(&dir, None, cx.seed(), &device.device)?.model;
    let patient = Patient { model, tokens: &tokens, device: &device, pruning: pruning.clone() };
    let (model, recovery) = recovery::recover(cx, patient, training)?;
    Ok(PruneReport { recovery: Some(recovery), ..pruning.report(&model.to_host()?)? })
}

impl Own {
    fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        match (self.sparsity, self.pattern) {
            (None, None) => wrong.push(
                Invalid::new("sparsity", "neither sparsity nor pattern is given")
                    .help("0.3 sets 30 % of the weights to zero; `pattern = \"2:4\"` two of each four"),
            ),
            (Some(_), None) => wrong.extend(self.check_sparsity()),
            (Some(sparsity), Some(pattern)) if (sparsity - pattern.sparsity()).abs() > 1e-9 => wrong.push(
                Invalid::new(
                    "sparsity",
                    format!("sparsity is {sparsity}, but the pattern {pattern} makes it {}", pattern.sparsity()),
                )
                .help("leave `sparsity` or `pattern` out"),
            ),
            _ => {}
        }
        if let (Some(pattern), Scope::Global) = (self.pattern, self.scope) {
            wrong.push(
                Invalid::new(
                    "scope",
                    format!("scope is global, but the pattern {pattern} is for each group of inputs"),
                )
                .help("leave `scope` out"),
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
                Invalid::new(
                    "gradual",
                    format!("the pattern {pattern} is there or not: it cannot be reached gradually"),
                )
                .help("leave `gradual` out, or give `sparsity` in the place of `pattern`"),
            );
        }
        wrong
    }

    /// Whether parts of the model go, and not single weights.
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
                let message = format!("`{key}` and `{asked}` are both given");
                wrong.push(Invalid::new(key, message).help(format!(
                    "`{key}` is for single weights, `{asked}` removes whole parts: give each a stage of its own"
                )));
            }
        }
        if self.structure.as_ref().is_some_and(Vec::is_empty) {
            wrong.push(Invalid::new("structure", "structure is empty; write [\"ffn\"]"));
        }
        if self.structure.iter().flatten().any(|part| *part == Structure::Heads) {
            wrong.push(Invalid::new("structure", format!("structure has \"heads\": {}", Structure::NO_HEADS)).help(
                "`structure = [\"ffn\"]` removes neurons of the feed-forward halves, which are two thirds of a layer's work",
            ));
        }
        match (self.sparsity, self.structure.is_none()) {
            (None, false) => wrong.push(
                Invalid::new("structure", "structure is given, but no share to remove")
                    .help("add `sparsity`: 0.4 removes 40 % of each layer's neurons"),
            ),
            (Some(_), true) => {
                wrong.push(Invalid::new("sparsity", "`sparsity` and `layers` are both given, but nothing to remove a share of").help(
                    "add `structure = [\"ffn\"]`, or set single weights to zero in a stage of its own, after this one",
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
