//! What `metrics.json` says of the probabilities, and of a decision's effect.

use serde::{Deserialize, Serialize};

use pipe_ml::judge::calibration::Calibration;
use pipe_ml::judge::decide::Method;
use pipe_ml::judge::metrics::Metrics;

/// Calibration, and the effect of a decision. Files of earlier versions have neither.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Of the probabilities that count: those of the decision, or of the model if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// None without a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Effect>,
}

/// What a decision changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    pub method: Method,
    pub temperature: f64,
    /// The metrics of the highest logits.
    pub before: Metrics,
    pub calibration_before: Calibration,
    /// Rows that only the highest logit got right, and that only the decision got right.
    pub lost: u64,
    pub gained: u64,
    /// McNemar's test of that change.
    pub mcnemar_p: f64,
    /// None if the decision always gives a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstention: Option<Abstention>,
}

/// How often a decision gives a label.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Abstention {
    /// The least probability of a label that is given.
    pub below: f64,
    /// Rows that are given a label.
    pub covered_rows: u64,
    /// Their share.
    pub coverage: f64,
    /// The accuracy on them; None if there are none.
    pub covered_accuracy: Option<f64>,
}
