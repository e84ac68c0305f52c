//! The results of a fit besides the model.

use serde::{Deserialize, Serialize};

use super::FitOptions;
use crate::judge::metrics::Metrics;
use crate::model::Model;

/// A finished fit.
#[derive(Debug)]
pub struct Fitted {
    /// The best model by the chosen metric, without autodiff; the last model without validation rows.
    pub model: Model,
    /// The content of `training.json`; repeating the fit gives the same.
    pub training: Training,
    /// Figures that vary from run to run: for the run's log, never for an artifact.
    pub timings: Timings,
}

/// The course of a fit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Training {
    pub options: FitOptions,
    /// Optimizer steps taken.
    pub steps: u64,
    pub steps_per_epoch: u64,
    pub stop: Stop,
    /// `None` without validation rows.
    pub best: Option<Best>,
    /// Share of padding among the positions that the model computed.
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
    /// The metric did not improve in `patience` evaluations.
    Early,
    /// The epochs of `until` are done.
    Until,
}

/// The best model so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Best {
    /// Epochs done at that point: 2 after the second, 2.5 in the middle of the third.
    pub epoch: f64,
    pub step: u64,
    /// The chosen metric on the validation rows.
    pub value: f64,
}

/// A point of the learning curve. It covers the steps since the previous point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Point {
    /// The last of these steps, from 1.
    pub step: u64,
    /// Epochs done at that point.
    pub epoch: f64,
    /// Mean over these steps.
    pub loss: f64,
    /// Learning rate of the last of these steps.
    pub learning_rate: f64,
    /// Gradient norm before clipping, averaged over these steps.
    pub grad_norm: f64,
}

/// The model's quality at the end of an epoch, or after every `eval_steps` steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evaluation {
    /// Epochs done at that point.
    pub epoch: f64,
    pub step: u64,
    /// Mean over the steps since the previous evaluation.
    pub train_loss: f64,
    /// `None` without validation rows.
    pub validation: Option<Metrics>,
}

/// The speed of a fit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timings {
    /// Wall time of training and evaluation, over all processes that took part.
    pub seconds: f64,
    /// Train rows per second, without evaluation.
    pub samples_per_second: f64,
    /// One entry per point of the learning curve.
    pub curve: Vec<Speed>,
    /// Highest resident memory of the whole process (VmHWM). `None` if the system does not report it.
    pub peak_memory_bytes: Option<u64>,
}

/// The speed of the steps since the previous point, and their memory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Speed {
    /// The last of these steps.
    pub step: u64,
    /// Train rows per second.
    pub samples_per_second: f64,
    /// As [`Timings::peak_memory_bytes`], up to this point.
    pub peak_memory_bytes: Option<u64>,
}

/// The most memory that this process has held, from `/proc/self/status`.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
