//! Shared by `train`, `lora` and `distill`: the parameters of the training loop, and running it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::watched::{Watched, finished};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::Invalid;
use pipe_engine::text::diagnostic::{Diagnostic, Place};
use pipe_engine::text::parameters::{Parameters, json_of_both, read_both, schema_of_both};
use pipe_engine::text::value::Table;
use pipe_ml::compute::device::{Chosen, is_cpu, pool_bytes};
use pipe_ml::compute::precision::Precision;
use pipe_ml::model::{Initialised, Model};
use pipe_ml::text::batch::Padding;
use pipe_ml::text::data::Tokens;
use pipe_ml::text::tokenizer;
use pipe_ml::train::fit;
use pipe_ml::train::fit::{Criterion, FitOptions, Fitted, fit};
use pipe_ml::train::objective::Objective;
use pipe_ml::train::optimizer::AdamWSettings;
use pipe_ml::train::schedule::{Schedule, Warmup};

/// Minutes in a year.
const LONGEST: f64 = 525_600.0;

/// Parameters that only change how the model is computed, not which model.
pub const OPERATIONAL: &[&str] = &["eval-batch-size", "checkpoint-minutes", "memory-fraction"];

/// How a model is trained. Names and meanings follow the Hugging Face Trainer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Training {
    /// Passes over the training rows.
    #[serde(default = "three")]
    pub epochs: u32,
    /// Rows per batch.
    #[serde(default = "sixteen")]
    pub batch_size: usize,
    /// Batches per optimizer step; the gradient is the mean over all their rows.
    #[serde(default = "one")]
    pub accumulation: usize,
    /// Highest learning rate. Default: 5e-5, for `lora` 2e-4.
    #[serde(default)]
    pub learning_rate: Option<f64>,
    /// AdamW's decoupled weight decay; biases and LayerNorm are exempt.
    #[serde(default)]
    pub weight_decay: f64,
    /// AdamW's decay rates β₁ and β₂ of the running means of the gradient and of its square.
    #[serde(default = "usual_betas")]
    pub betas: [f64; 2],
    /// AdamW's ε, added to the square root of the second mean.
    #[serde(default = "usual_epsilon")]
    pub epsilon: f64,
    /// How the learning rate falls after warm-up.
    #[serde(default)]
    pub schedule: Shape,
    /// Restarts of `cosine-with-restarts`.
    #[serde(default = "one_cycle")]
    pub cycles: u32,
    /// Optimizer steps over which the learning rate rises from 0.
    #[serde(default)]
    pub warmup_steps: Option<u64>,
    /// The same as a share of all steps.
    #[serde(default)]
    pub warmup_ratio: Option<f64>,
    /// Gradients are scaled down together to at most this global norm; 0 disables it.
    #[serde(default = "one_point")]
    pub clip: f64,
    /// Optimizer steps between evaluations on the validation rows; the last step is always evaluated. Default: at the
    /// end of each epoch.
    #[serde(default)]
    pub eval_steps: Option<u64>,
    /// Stop after this many evaluations without a better metric. Default: never stop early.
    #[serde(default)]
    pub patience: Option<u32>,
    /// A metric must be better by more than this to count for `patience`.
    #[serde(default)]
    pub threshold: f64,
    /// The validation metric that decides which evaluation's model is kept: `"macro-f1"`, `"accuracy"`, `"loss"` or
    /// `"macro-auc"`.
    #[serde(default)]
    pub metric: Criterion,
    /// `"bucketed"`: batches of rows of similar length, each as wide as its longest row; `{ fixed = 200 }`: always this
    /// wide.
    #[serde(default)]
    pub padding: Padding,
    /// `"bf16"` computes the matrix products of training in bfloat16, for GPUs that support it; weights, optimizer,
    /// sums and validation stay f32. On the CPU it is slower than `"f32"`.
    #[serde(default)]
    pub precision: Precision,
    /// Compute the activations of each layer twice instead of storing those of all layers: this saves memory and costs
    /// a second forward pass.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// The share of the device's memory (on the CPU, the machine's) that a step may use. A batch that needs more is
    /// processed in two halves, like one that does not fit, which changes rounding and dropout masks; if half a batch
    /// needs more, the stage fails. Not part of the fingerprint. Default: no limit.
    #[serde(default)]
    pub memory_fraction: Option<f64>,
    /// Rows per batch of validation. Does not change the result.
    #[serde(default = "sixty_four")]
    pub eval_batch_size: usize,
    /// Minutes between checkpoints; one is also written after each evaluation and on Ctrl-C. Does not change the
    /// result.
    #[serde(default = "five")]
    pub checkpoint_minutes: f64,
}

/// A kind's own parameters and those of training, side by side in the file.
pub struct Trained<A, T = Training> {
    pub own: A,
    pub training: T,
}

impl<A: Parameters, T: Parameters> Parameters for Trained<A, T> {
    fn read(table: &Table, owner: &str, place: &Place) -> Result<Self, Vec<Diagnostic>> {
        read_both(table, owner, place).map(|(own, training)| Self { own, training })
    }

    fn schema() -> Schema {
        schema_of_both::<A, T>()
    }

    fn to_json(&self) -> anyhow::Result<serde_json::Value> {
        json_of_both(&self.own, &self.training)
    }
}

/// Shapes of the learning rate over a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Down to zero in a straight line.
    #[default]
    Linear,
    /// Half a cosine wave down to zero.
    Cosine,
    /// As many half cosine waves as `cycles`.
    CosineWithRestarts,
    /// The full rate until the end.
    Constant,
}

fn three() -> u32 {
    3
}

fn sixteen() -> usize {
    16
}

fn one() -> usize {
    1
}

fn one_cycle() -> u32 {
    1
}

fn one_point() -> f64 {
    1.0
}

fn usual_betas() -> [f64; 2] {
    let AdamWSettings { beta1, beta2, .. } = AdamWSettings::default();
    [beta1, beta2]
}

fn usual_epsilon() -> f64 {
    AdamWSettings::default().epsilon
}

fn sixty_four() -> usize {
    64
}

fn five() -> f64 {
    5.0
}

impl Training {
    pub fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        let mut must = |holds: bool, key: &'static str, message: String| {
            if !holds {
                wrong.push(Invalid::new(key, message));
            }
        };
        must(self.epochs > 0, "epochs", "epochs is 0; at least 1 is needed".into());
        must(self.batch_size > 0, "batch-size", "batch-size is 0; at least 1 is needed".into());
        must(self.accumulation > 0, "accumulation", "accumulation is 0; at least 1 is needed".into());
        must(self.eval_batch_size > 0, "eval-batch-size", "eval-batch-size is 0; at least 1 is needed".into());
        must(self.cycles > 0, "cycles", "cycles is 0; at least 1 is needed".into());
        must(self.eval_steps != Some(0), "eval-steps", "eval-steps is 0; at least 1 is needed".into());
        for (name, beta) in ["β₁", "β₂"].into_iter().zip(self.betas) {
            must((0.0..1.0).contains(&beta), "betas", format!("{name} is {beta}; it must be at least 0 and below 1"));
        }
        let epsilon = self.epsilon;
        must(
            epsilon as f32 > 0.0 && epsilon.is_finite(),
            "epsilon",
            format!("epsilon is {epsilon}; it must be above 0, in 32 bits too"),
        );
        if let Some(lr) = self.learning_rate {
            must(lr > 0.0 && lr.is_finite(), "learning-rate", format!("learning-rate is {lr}; it must be above 0"));
        }
        for (key, value) in [("weight-decay", self.weight_decay), ("clip", self.clip), ("threshold", self.threshold)] {
            must(value >= 0.0 && value.is_finite(), key, format!("{key} is {value}; it must be 0 or more"));
        }
        let minutes = self.checkpoint_minutes;
        let message = format!("checkpoint-minutes is {minutes}; it must be from 0 to {LONGEST} (a year)");
        must((0.0..=LONGEST).contains(&minutes), "checkpoint-minutes", message);
        if let Some(fraction) = self.memory_fraction {
            let message = format!("memory-fraction is {fraction}; it must be above 0 and at most 1");
            must(fraction > 0.0 && fraction <= 1.0, "memory-fraction", message);
        }
        if let Some(ratio) = self.warmup_ratio {
            must(
                (0.0..=1.0).contains(&ratio),
                "warmup-ratio",
                format!("warmup-ratio is {ratio}; it must be from 0 to 1"),
            );
            must(
                self.warmup_steps.is_none(),
                "warmup-ratio",
                "warm-up is set twice: by warmup-steps and by warmup-ratio; keep one of the two".into(),
            );
        }
        wrong
    }

    /// The options of the training loop on `device`. `learning_rate` is the kind's default.
    pub fn options(&self, seed: u64, learning_rate: f64, device: &Chosen) -> Result<FitOptions> {
        Ok(FitOptions {
            epochs: self.epochs,
            batch_size: self.batch_size,
            accumulation: self.accumulation,
            learning_rate: self.learning_rate.unwrap_or(learning_rate),
            schedule: match self.schedule {
                Shape::Linear => Schedule::Linear,
                Shape::Cosine => Schedule::Cosine,
                Shape::CosineWithRestarts => Schedule::CosineWithRestarts { cycles: self.cycles },
                Shape::Constant => Schedule::Constant,
            },
            warmup: match (self.warmup_steps, self.warmup_ratio) {
                (Some(steps), _) => Warmup::Steps(steps),
                (None, Some(ratio)) => Warmup::Ratio(ratio),
                (None, None) => Warmup::Steps(0),
            },
            adamw: AdamWSettings {
                beta1: self.betas[0],
                beta2: self.betas[1],
                epsilon: self.epsilon,
                weight_decay: self.weight_decay,
            },
            clip: (self.clip > 0.0).then_some(self.clip),
            padding: self.padding,
            eval_steps: self.eval_steps,
            metric: self.metric,
            patience: self.patience,
            threshold: self.threshold,
            seed,
            precision: self.precision,
            gradient_checkpointing: self.gradient_checkpointing,
            pruning: None,
            replicas: device.others.clone(),
            memory_limit: self.memory_fraction.map(|fraction| memory_limit(fraction, device)).transpose()?,
            eval_batch_size: self.eval_batch_size,
            checkpoint_every: Duration::from_secs_f64(self.checkpoint_minutes * 60.0),
        })
    }

    /// Run the training loop and record its results. `learning_rate` is the kind's default.
    pub fn fit(
        &self,
        cx: &mut Context,
        model: Model,
        tokens: &Tokens,
        objective: &Objective,
        device: &Chosen,
        learning_rate: f64,
    ) -> Result<Fitted> {
        let options = self.options(cx.seed(), learning_rate, device)?;
        run(cx, model, tokens, objective, device, options)
    }
}

/// A share of the device's memory in bytes.
fn memory_limit(fraction: f64, device: &Chosen) -> Result<u64> {
    let total = device
        .total_bytes()
        .with_context(|| format!("cannot find out how much memory {} has; leave out memory-fraction", device.name))?;
    Ok((fraction * total as f64) as u64)
}

/// Run the training loop on all devices and record its results.
pub fn run(
    cx: &mut Context,
    model: Model,
    tokens: &Tokens,
    objective: &Objective,
    device: &Chosen,
    options: FitOptions,
) -> Result<Fitted> {
    options.precision.check(&device.device)?;
    if !options.precision.is_f32() && is_cpu(&device.device) {
        cx.note("bf16 is slower than f32 on the CPU, which computes it in f32 and rounds");
    }
    let checkpoints = cx.checkpoints()?;
    let fitted =
        finished(fit(model, tokens, objective, &options, Some(&checkpoints), &device.device, &Watched::new(cx)))?;
    cx.took(fitted.timings.seconds);
    let padding = fitted.training.padding;
    if let Some(best) = fitted.training.best {
        cx.fact("validation", best.value);
        cx.fact("best-epoch", best.epoch);
        cx.note(format!(
            "kept the model of step {} (epoch {:.2}): {} {:.4}; {:.0}% of all positions were padding",
            best.step,
            best.epoch,
            options.metric.name(),
            best.value,
            100.0 * padding
        ));
    } else {
        cx.note(format!("kept the last model; {:.0}% of all positions were padding", 100.0 * padding));
    }
    cx.fact("steps", fitted.training.steps as f64);
    cx.fact("padding", fitted.training.padding);
    cx.fact("trainable-parameters", fitted.training.trainable_parameters as f64);
    cx.fact("samples-per-second", fitted.timings.samples_per_second);
    if let Some(bytes) = fitted.timings.peak_memory_bytes {
        cx.fact("peak-memory-bytes", bytes as f64);
    }
    if let Some(bytes) = pool_bytes(&device.device) {
        cx.fact("device-memory-bytes", bytes as f64);
    }
    let rows = fitted.timings.curve.iter().map(|speed| {
        // Speed to a tenth and memory to a kilobyte: further digits are noise.
        let rate = (speed.samples_per_second * 10.0).round() / 10.0;
        let memory = speed.peak_memory_bytes.map(|bytes| (bytes / 1000 * 1000) as f64);
        vec![Some(speed.step as f64), Some(rate), memory]
    });
    cx.curve(&["step", "samples-per-second", "peak-memory-bytes"], rows);
    Ok(fitted)
}

/// Write a model folder: weights, config, the tokenizer of `tokens`, and how the model was trained.
pub fn save_model(model: &Model, training: &fit::Training, labels: &[String], tokens: &Path, out: &Path) -> Result<()> {
    model.save(out, labels)?;
    tokenizer::copy_files(tokens, out)?;
    let path = out.join("training.json");
    let text = serde_json::to_string_pretty(training)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    training.write_curve(&out.join("training.parquet"))
}

/// The weight of each class in the loss.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// The same for all classes.
    #[default]
    None,
    /// Higher for rare classes: rows / (classes · rows of the class).
    Balanced,
    /// One weight per label, in the order of the labels: `{ given = [1.0, 2.0] }`.
    Given(Vec<f32>),
}

impl ClassWeights {
    pub fn of(&self, tokens: &Tokens) -> Option<Vec<f32>> {
        match self {
            Self::None => None,
            Self::Balanced => Some(Objective::balanced(tokens.train.labels(), tokens.labels.len())),
            Self::Given(weights) => Some(weights.clone()),
        }
    }
}

/// Freeze everything except the last encoder layers and the head, if requested.
pub fn freeze(model: Model, layers: Option<usize>, initialised: &Initialised, cx: &Context) -> Result<Model> {
    let Some(layers) = layers else { return Ok(model) };
    let model = model.finetune_last(layers)?;
    let frozen: BTreeSet<String> =
        model.parameters().into_iter().filter(|named| !named.trainable).map(|named| named.name).collect();
    let fresh = match initialised {
        Initialised::Nothing => 0,
        Initialised::Part(fresh) => fresh.iter().filter(|name| frozen.contains(*name)).count(),
        Initialised::Everything => frozen.len(),
    };
    if fresh > 0 {
        cx.warn(format!("{fresh} of the {} frozen tensors have random values and will keep them", frozen.len()));
    }
    cx.note(format!("{} of {} parameters are trained", model.count_trainable(), model.count()));
    Ok(model)
}

/// Check label smoothing, for the kinds that have it.
pub fn check_smoothing(smoothing: f64) -> Option<Invalid> {
    (!(0.0..1.0).contains(&smoothing)).then(|| {
        Invalid::new("label-smoothing", format!("label-smoothing is {smoothing}; it must be at least 0 and below 1"))
    })
}
