//! The validation metric that decides which model is better.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::metrics::Metrics;

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
