//! What an evaluation in the middle of a stage's work measured, in numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An evaluation, and how it compares with the earlier ones of the same stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Measured {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole work; it may end earlier.
    pub total: u64,
    /// Passes over the rows done: 2 after the second, 2.5 in the middle of the third.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<f64>,
    /// Passes of the whole work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u32>,
    /// Steps between evaluations; None if there is one at the end of each epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// By name: `loss`, `validation-loss`, `macro-f1`. Values that are not finite are left out.
    pub values: BTreeMap<String, f64>,
    /// The value that decides which evaluation's result is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Whether this evaluation is the best so far, so that its result is kept.
    pub best: bool,
    /// The best evaluation so far, this one included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// Evaluations since the metric last became better.
    pub stale: u32,
    /// The work stops when `stale` reaches this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
}

/// The best evaluation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kept {
    pub step: u64,
    /// Passes over the rows done at that step.
    pub epoch: f64,
    /// The value of the metric that decides.
    pub value: f64,
}
