//! How far a running stage is.

use serde::{Deserialize, Serialize};

/// How far a stage is. All fields except `done`, `total` and `unit` are optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Progress {
    pub done: u64,
    /// 0 if unknown.
    pub total: u64,
    /// What `done` counts: `step`, `row`, `file`.
    pub unit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<(u32, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Samples per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Share of a batch that is padding, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding: Option<f64>,
}
