//! The report of preprocessing, which accounts for every row: read, changed, dropped or kept.

use serde::{Deserialize, Serialize};

/// Unusable rows that are listed one by one; the rest is only counted.
pub(crate) const LISTED: usize = 20;

/// The report of a whole `preprocess` run: `rows == kept + dropped.total()`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Rows read from all sources.
    pub rows: u64,
    /// Rows in the three splits.
    pub kept: u64,
    pub dropped: Dropped,
    pub changed: Changed,
    /// Repeated texts within test. They are kept, so that scores compare with published ones.
    pub test_duplicates: u64,
    pub sources: Vec<SourceReport>,
    pub splits: Splits,
    /// The first unusable rows; `dropped.unusable` counts all of them.
    pub unusable: Vec<Unusable>,
}

/// The report of one source: `rows == kept + dropped.total()`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    pub name: String,
    pub split: String,
    /// The detected encoding: `utf-8` or `windows-1252`.
    pub encoding: String,
    pub rows: u64,
    pub kept: u64,
    pub dropped: Dropped,
    pub changed: Changed,
    pub dates: Option<Dates>,
}

/// Dropped rows by reason. A row counts once, under the first reason in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// Unreadable rows: a wrong number of fields, no label, broken JSON.
    pub unusable: u64,
    /// Rows beyond the source's `limit`.
    pub over_limit: u64,
    /// Rows whose text is empty after cleaning.
    pub empty: u64,
    /// The text is also in test (or, for training rows, in validation).
    pub leaked: u64,
    /// The text occurs with different labels. All its rows are dropped, because none can be trusted.
    pub conflicting: u64,
    /// The text occurred before with the same label.
    pub duplicate: u64,
}

impl Dropped {
    pub fn total(&self) -> u64 {
        self.unusable + self.over_limit + self.empty + self.leaked + self.conflicting + self.duplicate
    }

    pub fn add(&mut self, other: &Dropped) {
        self.unusable += other.unusable;
        self.over_limit += other.over_limit;
        self.empty += other.empty;
        self.leaked += other.leaked;
        self.conflicting += other.conflicting;
        self.duplicate += other.duplicate;
    }
}

/// Changes that cleaning made to the texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Truncated characters whose bytes were removed.
    pub cut_characters: u64,
    /// C1 control characters replaced by the Windows-1252 characters with the same byte.
    pub control_characters: u64,
    /// Characters that were decoded with the wrong encoding (`Â’`, `â€™`, `Ã©`).
    pub wrongly_decoded: u64,
    /// HTML character references replaced (`&amp;`).
    pub html_references: u64,
    /// URLs dropped or replaced by a token.
    pub urls: u64,
    /// @mentions dropped or replaced by a token.
    pub mentions: u64,
    /// Texts in which white space was collapsed or trimmed.
    pub collapsed_texts: u64,
}

impl Changed {
    pub fn add(&mut self, other: &Changed) {
        self.cut_characters += other.cut_characters;
        self.control_characters += other.control_characters;
        self.wrongly_decoded += other.wrongly_decoded;
        self.html_references += other.html_references;
        self.urls += other.urls;
        self.mentions += other.mentions;
        self.collapsed_texts += other.collapsed_texts;
    }
}

/// First and last day of a covid19 source, as `YYYY-MM-DD`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Dates {
    pub first: String,
    pub last: String,
    /// Rows whose date cannot be parsed; they are used nevertheless.
    pub unreadable: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Splits {
    pub train: SplitReport,
    pub validation: SplitReport,
    pub test: SplitReport,
}

/// Number of rows of a split, in total and per label in the order of the label ids.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitReport {
    pub rows: u64,
    pub labels: Vec<u64>,
}

/// An unusable row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unusable {
    /// `FILE:LINE`.
    pub place: String,
    /// The same words for every row with the same mistake: rows are counted by them.
    pub reason: String,
    /// What is particular to this row; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How many rows it stands for: the lines that an unclosed quote took.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub rows: u64,
}

fn one() -> u64 {
    1
}

fn is_one(rows: &u64) -> bool {
    *rows == 1
}

impl Unusable {
    pub fn new(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Unusable { place: place.into(), reason: reason.into(), detail: String::new(), rows: 1 }
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub fn rows(mut self, rows: u64) -> Self {
        self.rows = rows;
        self
    }
}
