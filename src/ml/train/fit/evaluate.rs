//! Evaluates a model on the validation rows during training, and records the results.

use anyhow::Result;
use burn::module::Module;

use super::Hyperparameters;
use super::report::{Best, Evaluation};
use super::state::FitState;
use super::step::Stepper;
use crate::judge::metrics;
use crate::judge::metrics::{Metrics, Scoring};
use crate::model::Model;
use crate::watch::{Progress, Watch};

/// A watch that ignores progress, so that the progress line stays the training's.
struct Quiet<'a>(&'a dyn Watch);

impl Watch for Quiet<'_> {
    fn progress(&self, _: Progress) {}
    fn note(&self, text: String) {
        self.0.note(text);
    }
    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}

/// The model's metrics on the validation rows; `None` without validation rows.
pub fn validate(model: &Model, stepper: &Stepper, watch: &dyn Watch) -> Result<Option<Metrics>> {
    let Stepper { tokens, options, device, .. } = *stepper;
    let split = &tokens.validation;
    if split.is_empty() {
        return Ok(None);
    }
    let model = model.valid();
    let device = device.clone().inner();
    let scoring =
        Scoring { split, pad_id: tokens.pad_id, batch_size: options.training.eval_batch_size, device: &device };
    let logits = scoring.logits(&metrics::forward(&model), &Quiet(watch))?;
    Metrics::of(&logits, split.labels(), &tokens.labels).map(Some)
}

/// Record an evaluation after `epoch` epochs in the state.
pub fn record(state: &mut FitState, epoch: f64, validation: Option<Metrics>) {
    let train_loss = state.since_evaluation.take().mean_loss();
    state.evaluations.push(Evaluation { epoch, step: state.step, train_loss, validation });
}

/// Whether the last evaluated model is the best so far.
pub fn judge(state: &mut FitState, training: &Hyperparameters) -> bool {
    let Some(Evaluation { epoch, step, validation: Some(metrics), .. }) = state.evaluations.last() else {
        return false;
    };
    let (epoch, step, value) = (*epoch, *step, training.metric.of(metrics));
    let gain = state.best.map_or(f64::INFINITY, |best| training.metric.gain(value, best.value));
    // As in the Trainer's EarlyStoppingCallback, any gain makes a model the best, but only a gain above the threshold
    // resets the patience.
    state.stale = if gain > training.threshold { 0 } else { state.stale + 1 };
    if gain > 0.0 {
        state.best = Some(Best { epoch, step, value });
    }
    gain > 0.0
}

/// The last evaluation as one line.
pub fn line(state: &FitState, training: &Hyperparameters, better: bool) -> String {
    let Some(last) = state.evaluations.last() else { return String::new() };
    let at = match training.eval_steps {
        None => format!("epoch {}/{}", last.epoch, training.epochs),
        Some(_) => format!("step {}  epoch {:.2}/{}", last.step, last.epoch, training.epochs),
    };
    let mut line = format!("{at}  loss {:.3}", last.train_loss);
    if let Some(Metrics { loss, macro_f1, accuracy, .. }) = &last.validation {
        line += &format!("  validation loss {loss:.3}  macro F1 {macro_f1:.3}  accuracy {accuracy:.3}");
    }
    match (better, training.patience) {
        (true, _) => line += "  best so far",
        (false, Some(patience)) if state.stale > 0 => line += &format!("  patience {}/{patience}", state.stale),
        _ => {}
    }
    line
}
