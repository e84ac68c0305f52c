//! Evaluates a model on the validation rows during training, and records the results.

use anyhow::Result;
use burn::module::Module;

use super::report::{Best, Evaluation};
use super::state::FitState;
use super::step::Stepper;
use super::{FitOptions, Hyperparameters};
use crate::judge::metrics;
use crate::judge::metrics::{Metrics, Scoring};
use crate::model::Model;
use crate::watch::{Kept, Measured, Progress, Watch};

/// A watch that ignores progress, so that the progress line stays the training's.
struct Quiet<'a>(&'a dyn Watch);

impl Watch for Quiet<'_> {
    fn progress(&self, _: Progress) {}
    fn measured(&self, measured: Measured) {
        self.0.measured(measured);
    }
    fn note(&self, text: String) {
        self.0.note(text);
    }
    fn warn(&self, text: String) {
        self.0.warn(text);
    }
    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}

/// The model's metrics on the validation rows; `None` without validation rows.
pub(super) fn validate(model: &Model, stepper: &Stepper, watch: &dyn Watch) -> Result<Option<Metrics>> {
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
pub(super) fn record(state: &mut FitState, epoch: f64, validation: Option<Metrics>) {
    let train_loss = state.since_evaluation.take().mean_loss();
    state.evaluations.push(Evaluation { epoch, step: state.step, train_loss, validation });
}

/// Whether the last evaluated model is the best so far.
pub(super) fn judge(state: &mut FitState, training: &Hyperparameters) -> bool {
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

/// The last evaluation, for the watch. `total` is the number of steps in all epochs.
pub(super) fn measured(state: &FitState, options: &FitOptions, total: u64, best: bool) -> Measured {
    let last = state.evaluations.last();
    Measured {
        step: state.step,
        total,
        epoch: last.map_or(0.0, |last| last.epoch),
        epochs: options.training.epochs,
        every: options.training.eval_steps,
        values: last.map(values).unwrap_or_default(),
        metric: options.training.metric.key(),
        best,
        kept: state.best.map(|best| Kept { step: best.step, epoch: best.epoch, value: best.value }),
        stale: state.stale,
        patience: options.training.patience,
    }
}

/// All figures of an evaluation by name; those of a class have its label in brackets.
fn values(evaluation: &Evaluation) -> Vec<(String, f64)> {
    let mut values = vec![("loss".to_owned(), evaluation.train_loss)];
    let Some(metrics) = &evaluation.validation else { return values };
    let figures = [
        ("validation-loss", Some(metrics.loss)),
        ("accuracy", Some(metrics.accuracy)),
        ("macro-precision", Some(metrics.macro_precision)),
        ("macro-recall", Some(metrics.macro_recall)),
        ("macro-f1", Some(metrics.macro_f1)),
        ("macro-auc", metrics.macro_auc),
    ];
    values.extend(figures.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    for class in &metrics.per_class {
        let figures = [
            ("precision", Some(class.precision)),
            ("recall", Some(class.recall)),
            ("f1", Some(class.f1)),
            ("auc", class.auc),
        ];
        values
            .extend(figures.into_iter().filter_map(|(name, value)| Some((format!("{name}[{}]", class.label), value?))));
    }
    values
}
