//! What a fit is told: the parameters that users write, and what the run adds to them.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use burn::tensor::Device;
use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::criterion::Criterion;
use crate::compress::prune::Pruning;
use crate::compute::device::Chosen;
use crate::compute::precision::Precision;
use crate::text::batch::Padding;
use crate::text::data::tokens::Tokens;
use crate::train::optimizer::AdamWSettings;
use crate::train::schedule::{Schedule, Shape, Warmup};

/// Minutes in a year.
const LONGEST: f64 = 525_600.0;

/// How a model is trained. Names and meanings follow the Hugging Face Trainer, and so do the defaults, except for the
/// batch size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hyperparameters {
    /// Passes over the training rows.
    pub epochs: u32,
    /// Stop after this many of the epochs; the learning rate still follows its schedule over all of them, and evaluations
    /// are those of the whole training. The stage then has an output `state`, from which `search` goes on to the next of
    /// its `rungs`. Default: train all epochs.
    pub until: Option<u32>,
    /// Rows per batch.
    pub batch_size: usize,
    /// Batches per optimizer step; the gradient is the mean over all their rows.
    pub accumulation: usize,
    /// Highest learning rate. Default: 5e-5, for `lora` 2e-4.
    pub learning_rate: Option<f64>,
    /// AdamW's decoupled weight decay; biases and LayerNorm are exempt.
    pub weight_decay: f64,
    /// AdamW's decay rates β₁ and β₂ of the running means of the gradient and of its square.
    pub betas: [f64; 2],
    /// AdamW's ε, added to the square root of the second mean.
    pub epsilon: f64,
    /// How the learning rate falls after warm-up: `"linear"`, `"cosine"`, `"cosine-with-restarts"` or `"constant"`.
    pub schedule: Shape,
    /// Restarts of `cosine-with-restarts`.
    pub cycles: u32,
    /// Optimizer steps over which the learning rate rises from 0. Default: 0.
    pub warmup_steps: Option<u64>,
    /// The same as a share of all steps, rounded up. Default: 0.
    pub warmup_ratio: Option<f64>,
    /// Gradients are scaled down together to at most this global norm; 0 disables it.
    pub clip: f64,
    /// Optimizer steps between evaluations on the validation rows; the last step is always evaluated. Default: at the
    /// end of each epoch.
    pub eval_steps: Option<u64>,
    /// Stop after this many evaluations without a better metric. Default: never stop early.
    pub patience: Option<u32>,
    /// A metric must be better by more than this to count for `patience`.
    pub threshold: f64,
    /// The validation metric that decides which evaluation's model is kept: `"macro-f1"`, `"accuracy"`, `"loss"` or
    /// `"macro-auc"`.
    pub metric: Criterion,
    /// `"bucketed"`: batches of rows of similar length, each as wide as its longest row; `{ fixed = 200 }`: always this
    /// wide, and the rows in plain shuffled order.
    pub padding: Padding,
    /// `"bf16"` computes the matrix products of training in bfloat16, for GPUs that support it; weights, optimizer,
    /// sums and validation stay f32. On the CPU it is slower than `"f32"`.
    pub precision: Precision,
    /// Compute the activations of each layer twice instead of storing those of all layers: this saves memory and costs
    /// a second forward pass.
    pub gradient_checkpointing: bool,
    /// The share of the device's memory (on the CPU, the machine's) that a step may use. A batch that needs more is
    /// processed in two halves, like one that does not fit, which changes rounding and dropout masks; if half a batch
    /// needs more, the stage fails. Not part of the fingerprint. Default: no limit.
    pub memory_fraction: Option<f64>,
    /// Rows per batch of validation. Does not change the result.
    pub eval_batch_size: usize,
    /// Minutes between checkpoints; one is also written after each evaluation and on Ctrl-C. Does not change the
    /// result.
    pub checkpoint_minutes: f64,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        let AdamWSettings { beta1, beta2, epsilon, weight_decay } = AdamWSettings::default();
        Self {
            epochs: 3,
            until: None,
            batch_size: 16,
            accumulation: 1,
            learning_rate: None,
            weight_decay,
            betas: [beta1, beta2],
            epsilon,
            schedule: Shape::default(),
            cycles: 1,
            warmup_steps: None,
            warmup_ratio: None,
            clip: 1.0,
            eval_steps: None,
            patience: None,
            threshold: 0.0,
            metric: Criterion::default(),
            padding: Padding::default(),
            precision: Precision::default(),
            gradient_checkpointing: false,
            memory_fraction: None,
            eval_batch_size: 64,
            // A machine that dies loses at most five minutes of work, at the cost of a few seconds of writing.
            checkpoint_minutes: 5.0,
        }
    }
}

/// A parameter whose value is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The parameter as users write it.
    pub key: &'static str,
    pub message: String,
}

impl Hyperparameters {
    /// Parameters that only change how the model is computed, not which model.
    pub const OPERATIONAL: &[&str] = &["eval-batch-size", "checkpoint-minutes", "memory-fraction"];

    /// The default of `learning-rate`.
    pub const LEARNING_RATE: f64 = 5e-5;

    /// All values that are not valid.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut must = |holds: bool, key: &'static str, rule: String| {
            if !holds {
                problems.push(Problem { key, message: rule });
            }
        };
        let counts = [
            ("epochs", u64::from(self.epochs)),
            ("batch-size", self.batch_size as u64),
            ("accumulation", self.accumulation as u64),
            ("eval-batch-size", self.eval_batch_size as u64),
            ("cycles", u64::from(self.cycles)),
            ("eval-steps", self.eval_steps.unwrap_or(1)),
        ];
        for (key, count) in counts {
            must(count > 0, key, format!("{key} is 0; at least 1 is needed"));
        }
        if let Some(until) = self.until {
            let rule = format!("until is {until} of {} epochs; it must be at least 1 and below epochs", self.epochs);
            must((1..self.epochs).contains(&until), "until", rule);
        }
        for (name, beta) in ["β₁", "β₂"].into_iter().zip(self.betas) {
            must((0.0..1.0).contains(&beta), "betas", format!("{name} is {beta}; it must be at least 0 and below 1"));
        }
        let epsilon = self.epsilon;
        must(
            epsilon as f32 > 0.0 && epsilon.is_finite(),
            "epsilon",
            format!("epsilon is {epsilon}; it must be above 0, in 32 bits too"),
        );
        let rate = self.rate();
        must(rate > 0.0 && rate.is_finite(), "learning-rate", format!("learning-rate is {rate}; it must be above 0"));
        for (key, value) in [("weight-decay", self.weight_decay), ("clip", self.clip), ("threshold", self.threshold)] {
            must(value >= 0.0 && value.is_finite(), key, format!("{key} is {value}; it must be 0 or more"));
        }
        let minutes = self.checkpoint_minutes;
        let rule = format!("checkpoint-minutes is {minutes}; it must be from 0 to {LONGEST} (a year)");
        must((0.0..=LONGEST).contains(&minutes), "checkpoint-minutes", rule);
        if let Some(fraction) = self.memory_fraction {
            let rule = format!("memory-fraction is {fraction}; it must be above 0 and at most 1");
            must(fraction > 0.0 && fraction <= 1.0, "memory-fraction", rule);
        }
        if let Some(ratio) = self.warmup_ratio {
            let rule = format!("warmup-ratio is {ratio}; it must be from 0 to 1");
            must((0.0..=1.0).contains(&ratio), "warmup-ratio", rule);
            let rule = "warm-up is set twice: by warmup-steps and by warmup-ratio; keep one of the two";
            must(self.warmup_steps.is_none(), "warmup-ratio", rule.into());
        }
        problems
    }

    /// The same parameters, with another default of `learning-rate`.
    pub fn or_rate(&self, rate: f64) -> Self {
        Self { learning_rate: self.learning_rate.or(Some(rate)), ..self.clone() }
    }

    /// The highest learning rate.
    pub fn rate(&self) -> f64 {
        self.learning_rate.unwrap_or(Self::LEARNING_RATE)
    }

    pub fn adamw(&self) -> AdamWSettings {
        let [beta1, beta2] = self.betas;
        AdamWSettings { beta1, beta2, epsilon: self.epsilon, weight_decay: self.weight_decay }
    }

    pub fn schedule(&self) -> Schedule {
        Schedule::of(self.schedule, self.cycles)
    }

    /// A warning if the warm-up is not over before the last of `total` steps: the learning rate never gets to its value.
    pub(crate) fn endless_warmup(&self, total: u64) -> Option<String> {
        let steps = self.warmup().steps(total);
        if total == 0 || steps < total {
            return None;
        }
        let last = self.rate() * (total - 1) as f64 / steps as f64;
        Some(format!(
            "all {total} steps are warm-up (of {steps} steps): the learning rate ends at {last:.1e} and never reaches {:e}; set a \
             shorter warm-up or more epochs",
            self.rate()
        ))
    }

    pub fn warmup(&self) -> Warmup {
        match (self.warmup_steps, self.warmup_ratio) {
            (None, Some(ratio)) => Warmup::Ratio(ratio),
            (steps, _) => Warmup::Steps(steps.unwrap_or(0)),
        }
    }

    /// The norm to which all gradients together are scaled down; `None` does not clip.
    pub fn clip(&self) -> Option<f64> {
        (self.clip > 0.0).then_some(self.clip)
    }

    /// Time between checkpoints; zero writes one at every step.
    pub fn checkpoint_every(&self) -> Duration {
        Duration::from_secs_f64(self.checkpoint_minutes * 60.0)
    }

    /// Rows of one optimizer step.
    pub fn step_rows(&self) -> usize {
        self.batch_size.saturating_mul(self.accumulation)
    }

    /// Number of optimizer steps per epoch of `rows` train rows.
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        rows.div_ceil(self.step_rows()) as u64
    }
}

/// The options of a fit: the user's parameters, and what the stage and the devices add.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    pub training: Hyperparameters,
    pub seed: u64,
    /// Weights to set to zero and hold there.
    pub pruning: Option<Pruning>,
    /// Devices that share each step's rows with the model's device. Operational, except for the dropout masks.
    pub replicas: Vec<Device>,
    /// Bytes of the device's memory that a step may use. A batch that needs more is halved. Operational, except for the
    /// rounding and the dropout masks of halved batches.
    pub memory_limit: Option<u64>,
}

impl FitOptions {
    /// The options of a fit on `device`.
    pub fn on(device: &Chosen, training: Hyperparameters, seed: u64) -> Result<Self> {
        let memory_limit = training.memory_fraction.map(|fraction| memory_limit(fraction, device)).transpose()?;
        Ok(Self { seed, replicas: device.others.clone(), memory_limit, ..training.into() })
    }

    /// Check that these options can be used on `tokens`.
    pub fn check(&self, tokens: &Tokens) -> Result<()> {
        ensure!(!tokens.train.is_empty(), "there are no train rows to train on");
        let training = &self.training;
        if let Some(problem) = training.check().into_iter().next() {
            bail!(problem.message);
        }
        if let Padding::Fixed(width) = training.padding {
            let longest = (0..tokens.train.len()).map(|row| tokens.train.row(row).len()).max().unwrap_or(0);
            ensure!(width >= longest, "padding is fixed to {width}, but there is a train row of {longest} tokens");
        }
        ensure!(
            training.patience.is_none() || !tokens.validation.is_empty(),
            "patience needs validation rows, but there are none; set `validation` of the corpus above 0"
        );
        if let Some(pruning) = &self.pruning {
            pruning.check(Some(training.steps_per_epoch(tokens.train.len()) * u64::from(training.epochs)))?;
        }
        let classes = tokens.labels.len();
        for (name, split) in [("train", &tokens.train), ("validation", &tokens.validation)] {
            if let Some(row) = (0..split.len()).find(|&row| split.label(row) as usize >= classes) {
                let (id, label) = (split.id(row), split.label(row));
                bail!("{name} row `{id}` has label {label}, but there are {classes} labels");
            }
        }
        Ok(())
    }
}

impl From<Hyperparameters> for FitOptions {
    /// The options of a fit on one device, without a limit of memory, with the Trainer's seed.
    fn from(training: Hyperparameters) -> Self {
        Self { training, seed: 42, pruning: None, replicas: Vec::new(), memory_limit: None }
    }
}

/// A share of the device's memory in bytes.
fn memory_limit(fraction: f64, device: &Chosen) -> Result<u64> {
    let total = device
        .total_bytes()
        .with_context(|| format!("cannot find out how much memory {} has; leave out memory-fraction", device.name))?;
    Ok((fraction * total as f64) as u64)
}

/// As `training.json` and the identity of a checkpoint have them: without what is operational, and with settings that
/// belong together as one value. This form never changes for the same training: equal results are equal files. So a
/// parameter that is added later is left out if it has its default.
impl Serialize for FitOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Without `..`: the compiler asks for a parameter that is neither recorded nor operational.
        let Hyperparameters {
            epochs,
            until,
            batch_size,
            accumulation,
            learning_rate: _,
            weight_decay: _,
            betas: _,
            epsilon: _,
            schedule: _,
            cycles: _,
            warmup_steps: _,
            warmup_ratio: _,
            clip: _,
            eval_steps,
            patience,
            threshold,
            metric,
            padding,
            precision,
            gradient_checkpointing,
            memory_fraction: _,
            eval_batch_size: _,
            checkpoint_minutes: _,
        } = &self.training;
        let mut record = serializer.serialize_map(None)?;
        record.serialize_entry("epochs", epochs)?;
        if let Some(until) = until {
            record.serialize_entry("until", until)?;
        }
        record.serialize_entry("batch-size", batch_size)?;
        record.serialize_entry("accumulation", accumulation)?;
        record.serialize_entry("learning-rate", &self.training.rate())?;
        record.serialize_entry("schedule", &self.training.schedule())?;
        record.serialize_entry("warmup", &self.training.warmup())?;
        record.serialize_entry("adamw", &self.training.adamw())?;
        record.serialize_entry("clip", &self.training.clip())?;
        record.serialize_entry("padding", padding)?;
        record.serialize_entry("eval-steps", eval_steps)?;
        record.serialize_entry("metric", metric)?;
        record.serialize_entry("patience", patience)?;
        record.serialize_entry("threshold", threshold)?;
        record.serialize_entry("seed", &self.seed)?;
        if !precision.is_f32() {
            record.serialize_entry("precision", precision)?;
        }
        if *gradient_checkpointing {
            record.serialize_entry("gradient-checkpointing", gradient_checkpointing)?;
        }
        if let Some(pruning) = &self.pruning {
            record.serialize_entry("pruning", pruning)?;
        }
        record.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::prune::{Method, Scope};

    /// The text that `training.json` has, and that decides whether a checkpoint can be used.
    fn record(options: impl Into<FitOptions>) -> String {
        serde_json::to_string(&options.into()).unwrap()
    }

    #[test]
    fn the_record_of_a_training_never_changes() {
        assert_eq!(
            record(Hyperparameters::default()),
            r#"{"epochs":3,"batch-size":16,"accumulation":1,"learning-rate":0.00005,"schedule":"linear","warmup":{"steps":0},"#
                .to_owned()
                + r#""adamw":{"beta1":0.9,"beta2":0.999,"epsilon":1e-8,"weight-decay":0.0},"clip":1.0,"padding":"bucketed","#
                + r#""eval-steps":null,"metric":"macro-f1","patience":null,"threshold":0.0,"seed":42}"#
        );
        let training = Hyperparameters {
            learning_rate: Some(1e-3),
            schedule: Shape::CosineWithRestarts,
            cycles: 2,
            warmup_ratio: Some(0.1),
            clip: 0.0,
            padding: Padding::Fixed(60),
            eval_steps: Some(40),
            metric: Criterion::Loss,
            patience: Some(9),
            precision: Precision::Bf16,
            gradient_checkpointing: true,
            memory_fraction: Some(0.5),
            eval_batch_size: 8,
            checkpoint_minutes: 1.0,
            ..Hyperparameters::default()
        };
        let pruning = Pruning::of(Method::Magnitude { sparsity: 0.5, scope: Scope::Local });
        assert_eq!(
            record(FitOptions { seed: 3, pruning: Some(pruning), ..training.into() }),
            r#"{"epochs":3,"batch-size":16,"accumulation":1,"learning-rate":0.001,"#.to_owned()
                + r#""schedule":{"cosine-with-restarts":{"cycles":2}},"warmup":{"ratio":0.1},"#
                + r#""adamw":{"beta1":0.9,"beta2":0.999,"epsilon":1e-8,"weight-decay":0.0},"clip":null,"padding":{"fixed":60},"#
                + r#""eval-steps":40,"metric":"loss","patience":9,"threshold":0.0,"seed":3,"precision":"bf16","#
                + r#""gradient-checkpointing":true,"#
                + r#""pruning":{"method":{"magnitude":{"sparsity":0.5,"scope":"local"}},"targets":[],"gradual":null}}"#
        );
    }

    #[test]
    fn every_operational_parameter_is_one_and_in_no_record() {
        let all = serde_json::to_value(Hyperparameters::default()).unwrap();
        let record = serde_json::to_value(FitOptions::from(Hyperparameters::default())).unwrap();
        for name in Hyperparameters::OPERATIONAL {
            assert!(all.get(name).is_some() && record.get(name).is_none(), "{name}");
        }
    }

    #[test]
    fn all_invalid_values_are_reported() {
        let wrong = Hyperparameters {
            epochs: 0,
            cycles: 0,
            eval_steps: Some(0),
            betas: [1.0, -0.1],
            epsilon: 1e-60,
            learning_rate: Some(0.0),
            clip: f64::INFINITY,
            memory_fraction: Some(1.5),
            warmup_steps: Some(1),
            warmup_ratio: Some(0.1),
            ..Hyperparameters::default()
        };
        let problems = wrong.check();
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key).collect();
        let expected = ["epochs", "cycles", "eval-steps", "betas", "betas", "epsilon", "learning-rate", "clip"];
        assert_eq!(keys, [&expected[..], &["memory-fraction", "warmup-ratio"]].concat());
        assert_eq!(problems[0].message, "epochs is 0; at least 1 is needed");
        assert_eq!(Hyperparameters::default().check(), []);
    }

    #[test]
    fn a_warm_up_that_is_not_over_in_time_is_told() {
        let with =
            |steps, ratio| Hyperparameters { warmup_steps: steps, warmup_ratio: ratio, ..Hyperparameters::default() };
        assert_eq!(
            with(Some(500), None).endless_warmup(2).unwrap(),
            "all 2 steps are warm-up (of 500 steps): the learning rate ends at 1.0e-7 and never reaches 5e-5; set a shorter \
             warm-up or more epochs"
        );
        assert!(with(None, Some(1.0)).endless_warmup(2).is_some() && with(Some(2), None).endless_warmup(2).is_some());
        assert_eq!(
            [with(Some(1), None), with(None, Some(0.5)), with(None, None)].map(|h| h.endless_warmup(2)),
            [const { None }; 3]
        );
    }
}
