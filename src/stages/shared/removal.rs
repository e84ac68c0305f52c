//! Removes whole layers and neurons: `prune` with `structure` or `layers`.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::base;
use super::base::copy_but_weights;
use super::labels::model_for;
use super::layers::Layers;
use super::lineage::{Lineage, Step};
use super::recovery;
use super::recovery::PrunedModel;
use super::watched::{Watched, finished};
use pipe_engine::contract::context::Context;
use pipe_ml::compress::prune::importance::LabelledRows;
use pipe_ml::compress::prune::structured::{Neurons, Removal, Removed, remove};
use pipe_ml::compress::prune::{Method, Pruning, Recovery, Scope};
use pipe_ml::files::weights;
use pipe_ml::model::Model;
use pipe_ml::text::data::Tokens;
use pipe_ml::train::fit::Hyperparameters;

/// Parts of which every layer has many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Structure {
    /// Neurons of the feed-forward part, the same number in each layer: `intermediate_size` of the config becomes
    /// smaller.
    Ffn,
    /// Attention heads; refused, because no family's config can describe fewer heads of the same width.
    Heads,
}

impl Structure {
    /// Why heads cannot be removed.
    pub const NO_HEADS: &str = "a model with fewer attention heads of the same width would not load in `transformers`, which makes the \
                                attention of every family from `hidden_size` (of DeBERTa, its output projection)";
}

/// What to remove.
pub struct Wanted<'a> {
    /// The layers to keep; None keeps all.
    pub layers: Option<&'a Layers>,
    /// The share of each layer's neurons to remove.
    pub share: Option<f64>,
    /// The most validation rows to measure importance on.
    pub calibration: usize,
}

/// The content of `pruning.json`.
#[derive(Serialize)]
struct Report {
    removed: Removed,
    recovery: Option<Recovery>,
    /// Size of the weight files.
    bytes_before: u64,
    bytes_after: u64,
}

/// Remove parts of the input `model`, train the rest if requested, and write the output `model`.
pub fn run(cx: &mut Context, wanted: &Wanted, training: Option<&Hyperparameters>, step: Step) -> Result<()> {
    let (dir, out) = (cx.input("model")?.dir.clone(), cx.output("model")?);
    let device = base::device(cx)?;
    let needs_rows = wanted.share.is_some() || training.is_some();
    let tokens = needs_rows.then(|| base::tokens_for(&dir, cx)).transpose()?;
    let neurons = match (wanted.share, &tokens) {
        (Some(share), Some(tokens)) => Some(Neurons { share, rows: rows(tokens, wanted.calibration)? }),
        _ => None,
    };
    let model = match &tokens {
        Some(tokens) => model_for(cx, &dir, tokens, &device, "the model")?.model,
        None => Model::load(&dir, None, cx.seed(), &device.device)?.model,
    };
    let layers = wanted.layers.map(|layers| layers.of(model.config().layers())).transpose()?;
    let removal = Removal { layers: layers.as_deref(), neurons };
    let (model, removed) = finished(remove(model, &removal, &device.device, &Watched::new(cx)))?;
    let lineage = Lineage::open(&dir);
    let recovery = match (training, &tokens) {
        (Some(training), Some(tokens)) => {
            // Nothing more is pruned; existing zeros stay.
            let pruning = Pruning::of(Method::Magnitude { sparsity: 0.0, scope: Scope::Local });
            let pruned = PrunedModel { model, tokens, device: &device, pruning, lineage, step };
            Some(recovery::recover(cx, pruned, training)?.1)
        }
        _ => {
            model.save(&out, model.config().labels())?;
            copy_but_weights(&dir, &out, &["config.json"])?;
            lineage.then(step).write(&out)?;
            None
        }
    };
    let report = Report { removed, recovery, bytes_before: weights::bytes(&dir)?, bytes_after: weights::bytes(&out)? };
    for note in report_results(cx, &report) {
        Lineage::note(&out, note)?;
    }
    write(&report, &out.join("pruning.json"))
}

fn rows(tokens: &Tokens, most: usize) -> Result<LabelledRows<'_>> {
    ensure!(
        !tokens.validation.is_empty(),
        "there are no validation rows to measure which neurons matter; set `validation` in `preprocess`"
    );
    Ok(LabelledRows { split: &tokens.validation, pad_id: tokens.pad_id, most })
}

/// Report the results to the user; returns the lines that describe the model.
fn report_results(cx: &mut Context, report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    let Report { removed, bytes_before, bytes_after, .. } = report;
    if removed.layers.len() < removed.layers_before {
        let (kept, all) = (removed.layers.len(), removed.layers_before);
        notes.push(format!("kept {kept} of {all} layers: {:?}", removed.layers));
        cx.fact("layers", kept as f64);
    }
    if let Some(neurons) = &removed.neurons {
        let lost = neurons.importance_removed();
        notes.push(format!(
            "kept {} of {} neurons of each layer; the removed ones had {:.1} % of the importance, measured on {} validation rows",
            neurons.width_after,
            neurons.width_before,
            100.0 * lost,
            neurons.rows
        ));
        cx.fact("neurons", neurons.width_after as f64);
        cx.fact("importance-removed", lost);
    }
    let ratio = *bytes_after as f64 / *bytes_before as f64;
    notes.push(format!(
        "kept {} of {} parameters; {ratio:.2} of the size: {bytes_before} → {bytes_after} bytes",
        removed.parameters_after, removed.parameters_before
    ));
    cx.fact("parameters", removed.parameters_after as f64);
    cx.fact("size-ratio", ratio);
    notes.iter().for_each(|note| cx.note(note));
    notes
}

fn write(report: &Report, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
