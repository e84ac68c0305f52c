//! What a fit gives back besides a model.

use serde::{Deserialize, Serialize};

use super::FitOptions;
use crate::judge::metrics::Metrics;
use crate::model::Model;

/// A finished fit.
#[derive(Debug)]
pub struct Fitted {
    /// The best model by the chosen metric, without autodiff; the last one where there are no validation rows.
    pub model: Model,
    /// `training.json`: equal whenever the fit is repeated.
    pub training: Training,
    /// What varies from run to run; for the run's log, never for an artifact.
    pub timings: Timings,
}

/// How a fit went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Training {
    pub options: FitOptions,
    /// Optimizer steps taken.
    pub steps: u64,
    pub steps_per_epoch: u64,
    pub stop: Stop,
    /// None without validation rows.
    pub best: Option<Best>,
    /// Share of the positions that went through the model that were padding.
    pub padding: f64,
    pub trainable_parameters: u64,
    pub curve: Vec<Point>,
    pub evaluations: Vec<Evaluation>,
}

/// Why a fit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// All epochs are done.
    Finished,
    /// The metric did not get better in `patience` evaluations.
    Early,
}

/// The best model so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Best {
    /// Epochs done by then: 2 after the second, 2.5 in the middle of the third.
    pub epoch: f64,
    pub step: u64,
    /// The chosen metric on the validation rows.
    pub value: f64,
}

/// A point of the learning curve: the steps since the point before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Point {
    /// The last of these steps, from 1.
    pub step: u64,
    /// Epochs done by then.
    pub epoch: f64,
    /// Mean over these steps.
    pub loss: f64,
    /// Of the last of these steps.
    pub learning_rate: f64,
    /// Before clipping; mean over these steps.
    pub grad_norm: f64,
}

/// What the model was worth at an epoch's end, or after so many steps as were asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evaluation {
    /// Epochs done by then.
    pub epoch: f64,
    pub step: u64,
    /// Mean over the steps since the evaluation before.
    pub train_loss: f64,
    /// None without validation rows.
    pub validation: Option<Metrics>,
}

/// How fast a fit was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timings {
    /// Wall time of training and evaluation, over all the processes that took part.
    pub seconds: f64,
    /// Train rows per second, evaluation not counted.
    pub samples_per_second: f64,
    /// At each point of the learning curve.
    pub curve: Vec<Speed>,
    /// Highest resident memory of the whole process (VmHWM); none where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
}

/// How fast the steps since the point before were, and what was needed for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Speed {
    /// The last of these steps.
    pub step: u64,
    /// Train rows per second.
    pub samples_per_second: f64,
    /// As [`Timings::peak_memory_bytes`], up to here.
    pub peak_memory_bytes: Option<u64>,
}

/// The most memory this process has held, from `/proc/self/status`.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
