//! How many rows of each class a corpus takes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::purpose::Purpose;

/// How many rows of each class are taken: those with the smallest hash of the seed and the id, so that more rows in the files
/// change few of the rows taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Take {
    /// Rows of each class from the training sources, before validation rows are set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_class: Option<usize>,
    /// Rows of each class from the test sources. Scores on a balanced test are not those on the data as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_per_class: Option<usize>,
    /// `"source"` shares the rows of a class equally between the sources that have it; what one source lacks, the others give.
    /// Default: every row of a class has the same chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Within>,
    /// What to do about a class with fewer rows than `per-class`: `"augment"` adds changed copies (as the kind `augment`),
    /// `"repeat"` adds copies, `"error"` fails, in test too. Only training rows are added. Default: fewer are taken, and told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<Fill>,
}

/// What shares the rows of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Within {
    /// The sources that have rows of it.
    Source,
}

/// What to do about a class with too few rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// Add changed copies of its training rows.
    Augment,
    /// Add copies of its training rows.
    Repeat,
    /// Fail.
    Error,
}

impl Take {
    /// How many rows of a class to take for this purpose; None for all.
    pub(crate) fn wanted(&self, purpose: Purpose) -> Option<usize> {
        match purpose {
            Purpose::Train => self.per_class,
            Purpose::Validation => None,
            Purpose::Test => self.test_per_class,
        }
    }
}
