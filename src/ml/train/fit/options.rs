//! The options of a fit.

use std::time::Duration;

use anyhow::{Result, ensure};
use burn::tensor::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::compress::prune::Pruning;
use crate::compute::precision::Precision;
use crate::judge::metrics::Metrics;
use crate::text::batch::Padding;
use crate::text::data::tokens::Tokens;
use crate::train::optimizer::AdamWSettings;
use crate::train::schedule::{Schedule, Warmup};

/// The options of a fit. The defaults are those of the Hugging Face Trainer, except for the batch size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FitOptions {
    pub epochs: u32,
    /// Rows that go through the model together.
    pub batch_size: usize,
    /// Number of batches per optimizer step.
    pub accumulation: usize,
    pub learning_rate: f64,
    pub schedule: Schedule,
    pub warmup: Warmup,
    pub adamw: AdamWSettings,
    /// Scale all gradients down together to this norm; `None` does not clip.
    pub clip: Option<f64>,
    pub padding: Padding,
    /// Optimizer steps between two evaluations; `None` evaluates at the end of each epoch. The last step is always
    /// evaluated.
    pub eval_steps: Option<u64>,
    /// The metric that decides which evaluated model is kept.
    pub metric: Criterion,
    /// Number of evaluations without a better metric after which the fit stops; `None` never stops early.
    pub patience: Option<u32>,
    /// A metric must improve by more than this to reset the count for `patience`.
    pub threshold: f64,
    pub seed: u64,
    /// Precision of the matrix products.
    #[serde(skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
    /// Compute the activations of each layer twice instead of keeping them all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gradient_checkpointing: bool,
    /// Weights to set to zero and hold there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruning: Option<Pruning>,
    /// Devices that share each step's rows with the model's device. Operational, except for the dropout masks.
    #[serde(skip)]
    pub replicas: Vec<Device>,
    /// Bytes of the device's memory that a step may use. A batch that needs more is halved. Operational, except for the
    /// rounding and the dropout masks of halved batches.
    #[serde(skip)]
    pub memory_limit: Option<u64>,
    /// Rows per evaluation batch. Operational: it changes speed and memory, so it is not recorded.
    #[serde(skip, default = "eval_batch_size")]
    pub eval_batch_size: usize,
    /// Time between checkpoints; zero writes one at every step. Operational.
    #[serde(skip, default = "checkpoint_every")]
    pub checkpoint_every: Duration,
}

fn eval_batch_size() -> usize {
    64
}

/// A machine that dies loses at most five minutes of work, at the cost of a few seconds of writing.
fn checkpoint_every() -> Duration {
    Duration::from_secs(300)
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            epochs: 3,
            batch_size: 16,
            accumulation: 1,
            learning_rate: 5e-5,
            schedule: Schedule::default(),
            warmup: Warmup::default(),
            adamw: AdamWSettings::default(),
            clip: Some(1.0),
            padding: Padding::default(),
            eval_steps: None,
            metric: Criterion::default(),
            patience: None,
            threshold: 0.0,
            seed: 42,
            precision: Precision::default(),
            gradient_checkpointing: false,
            pruning: None,
            replicas: Vec::new(),
            memory_limit: None,
            eval_batch_size: eval_batch_size(),
            checkpoint_every: checkpoint_every(),
        }
    }
}

impl FitOptions {
    /// Rows of one optimizer step.
    pub fn step_rows(&self) -> usize {
        self.batch_size.saturating_mul(self.accumulation)
    }

    /// Number of optimizer steps per epoch of `rows` train rows.
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        rows.div_ceil(self.step_rows()) as u64
    }

    /// Check that these options can be used on `tokens`.
    pub fn check(&self, tokens: &Tokens) -> Result<()> {
        ensure!(!tokens.train.is_empty(), "there are no train rows to train on");
        ensure!(self.epochs > 0, "epochs is 0; at least 1 is needed");
        ensure!(self.batch_size > 0, "batch-size is 0; at least 1 is needed");
        ensure!(self.accumulation > 0, "accumulation is 0; at least 1 is needed");
        let lr = self.learning_rate;
        ensure!(lr.is_finite() && lr > 0.0, "learning-rate is {lr}; it must be above 0");
        let AdamWSettings { beta1, beta2, epsilon, weight_decay } = self.adamw;
        ensure!(
            (0.0..1.0).contains(&beta1) && (0.0..1.0).contains(&beta2),
            "betas are {beta1} and {beta2}; they must be in 0..1"
        );
        ensure!(epsilon as f32 > 0.0 && epsilon.is_finite(), "epsilon is {epsilon}; it must be above 0 in 32 bits");
        ensure!(weight_decay >= 0.0, "weight-decay is {weight_decay}; it must be 0 or more");
        ensure!(self.eval_steps != Some(0), "eval-steps is 0; at least 1 is needed");
        if let Some(clip) = self.clip {
            ensure!(clip > 0.0, "the gradient norm is clipped to {clip}; it must be above 0");
        }
        match self.warmup {
            Warmup::Ratio(ratio) => {
                ensure!((0.0..=1.0).contains(&ratio), "warmup-ratio is {ratio}; it must be in 0..=1")
            }
            Warmup::Steps(_) => {}
        }
        if let Schedule::CosineWithRestarts { cycles } = self.schedule {
            ensure!(cycles > 0, "the schedule has 0 cycles; at least 1 is needed");
        }
        if let Padding::Fixed(width) = self.padding {
            let longest = (0..tokens.train.len()).map(|row| tokens.train.row(row).len()).max().unwrap_or(0);
            ensure!(width >= longest, "padding is fixed to {width}, but there is a train row of {longest} tokens");
        }
        ensure!(
            self.patience.is_none() || !tokens.validation.is_empty(),
            "patience needs validation rows, but there are none; set `validation` of the corpus above 0"
        );
        ensure!(self.threshold >= 0.0, "threshold is {}; it must be 0 or more", self.threshold);
        if let Some(pruning) = &self.pruning {
            pruning.check(Some(self.steps_per_epoch(tokens.train.len()) * u64::from(self.epochs)))?;
        }
        let classes = tokens.labels.len();
        for (name, split) in [("train", &tokens.train), ("validation", &tokens.validation)] {
            if let Some(row) = (0..split.len()).find(|&row| split.label(row) as usize >= classes) {
                anyhow::bail!(
                    "{name} row `{}` has label {}, but there are {classes} labels",
                    split.id(row),
                    split.label(row)
                );
            }
        }
        Ok(())
    }
}

/// The validation metric that decides which model is better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    #[default]
    MacroF1,
    Accuracy,
    Loss,
    MacroAuc,
}

impl Criterion {
    /// Its value in `metrics`; an undefined AUC counts as 0.
    pub fn of(self, metrics: &Metrics) -> f64 {
        match self {
            Self::MacroF1 => metrics.macro_f1,
            Self::Accuracy => metrics.accuracy,
            Self::Loss => metrics.loss,
            Self::MacroAuc => metrics.macro_auc.unwrap_or(0.0),
        }
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::MacroF1 => "macro F1",
            Self::Accuracy => "accuracy",
            Self::Loss => "loss",
            Self::MacroAuc => "macro AUC",
        }
    }

    /// Its name among the values that are measured.
    pub fn key(self) -> &'static str {
        match self {
            Self::MacroF1 => "macro-f1",
            Self::Accuracy => "accuracy",
            Self::Loss => "validation-loss",
            Self::MacroAuc => "macro-auc",
        }
    }

    /// How much better `new` is than `old`; negative if it is worse.
    pub fn gain(self, new: f64, old: f64) -> f64 {
        if self == Self::Loss { old - new } else { new - old }
    }
}
