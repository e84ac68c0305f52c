//! What rows are used for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the rows of a source are used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Training (and the share set aside for validation).
    #[default]
    Train,
    /// Choosing the best epoch.
    Validation,
    /// The final scores.
    Test,
}

impl Purpose {
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Train => "train",
            Purpose::Validation => "validation",
            Purpose::Test => "test",
        }
    }

    /// The purpose of a split with this name, as data sets call them.
    pub fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Purpose::Train),
            "validation" | "valid" | "val" | "dev" | "development" => Some(Purpose::Validation),
            "test" | "testing" | "eval" | "evaluation" => Some(Purpose::Test),
            _ => None,
        }
    }
}
