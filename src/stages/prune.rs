//! Remove the smallest weights of a model.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::base::{self, copy_but_weights};
use super::recovery::{self, Recovery};
use super::training::{self, Trained, Training, save_model};
use super::types::{MODEL, TOKENS};
use crate::engine::kind::{Context, Invalid, Need, Port, Resource, Stage};
use crate::ml::data::Tokens;
use crate::ml::fit::FitOptions;
use crate::ml::model::config::Config;
use crate::ml::model::{Model, weights};
use crate::ml::objective::Objective;
use crate::ml::prune::{self, Gradual, Method, Pattern, PruneReport, Pruning, Scope, Target};

/// Sets the smallest weights of a model's linear layers to zero (L1 magnitude), and with `recover-epochs` trains what is left;
/// embeddings, LayerNorm and biases are not pruned.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Own {
    /// Share of the weights set to zero, 0 ≤ sparsity < 1. Where `pattern` is given, it follows from that.
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
}

pub type Prune = Trained<Own, Recovery>;

impl Stage for Prune {
    const KIND: &'static str = "prune";
    const VERSION: u32 = 2;
    const MAIN: Option<&'static str> = Some("sparsity");
    const INPUTS: &'static [Port] = &[Port::one("model", MODEL), Port::optional("tokens", TOKENS)];
    const OUTPUTS: &'static [Port] = &[Port::one("model", MODEL)];
    const SEEDED: bool = true;
    const OPERATIONAL: &'static [&'static str] = training::OPERATIONAL;

    fn resource(&self) -> Resource {
        if self.training.training().is_some() { Resource::Device } else { Resource::Cpu }
    }

    fn check(&self) -> Vec<Invalid> {
        let mut wrong = self.own.check();
        if self.own.gradual.is_some() && self.training.training().is_none() {
            wrong.push(
                Invalid::new("gradual", format!("gradual needs training to go with, and {} is 0", recovery::KEY))
                    .help(format!("add `{} = 1` and `in.tokens`", recovery::KEY)),
            );
        }
        wrong.into_iter().chain(self.training.check()).collect()
    }

    fn needs(&self) -> Vec<Need> {
        self.training.needs()
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        let dir = cx.input("model")?.dir.clone();
        let quantized = Config::open(&dir)?.quantization().is_some();
        ensure!(!quantized, "the model is quantized; prune it before `quantize`");
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
    let (dir, rows) = (cx.input("model")?.dir.clone(), cx.input("tokens")?.dir.clone());
    let tokens = Tokens::open(&rows)?;
    let device = base::device(cx)?;
    let model = Model::load(&dir, None, cx.seed(), &device.device)?.model;
    base::check_labels(model.config().labels(), &tokens, "the model")?;
    base::check_fit(&tokens, &dir)?;
    let options = FitOptions { pruning: Some(pruning.clone()), ..training.options(cx.seed(), 5e-5) };
    let fitted = training::run(cx, model, &tokens, &Objective::cross_entropy(), &device, options)?;
    save_model(&fitted.model, &fitted.training, &tokens.labels, &rows, &cx.output("model")?)?;
    let recovery = prune::Recovery {
        epochs: training.epochs,
        steps: fitted.training.steps,
        best_epoch: fitted.training.best.map(|best| best.epoch),
    };
    Ok(PruneReport { recovery: Some(recovery), ..pruning.report(&fitted.model.to_host()?)? })
}

impl Own {
    fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        match (self.sparsity, self.pattern) {
            (None, None) => wrong.push(
                Invalid::new("sparsity", "neither sparsity nor pattern is given")
                    .help("0.3 sets 30 % of the weights to zero; `pattern = \"2:4\"` two of each four"),
            ),
            (Some(sparsity), None) if !(0.0..1.0).contains(&sparsity) => wrong.push(
                Invalid::new("sparsity", format!("sparsity is {sparsity}; it must be at least 0 and below 1"))
                    .help("0.3 sets 30 % of the weights to zero"),
            ),
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

    fn pruning(&self) -> Pruning {
        let magnitude = || Method::Magnitude { sparsity: self.sparsity.unwrap_or(0.0), scope: self.scope };
        Pruning {
            method: self.pattern.map_or_else(magnitude, Method::Pattern),
            targets: self.targets.clone().unwrap_or_default(),
            gradual: self.gradual,
        }
    }
}
