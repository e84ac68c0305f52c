//! The report of preprocessing, which accounts for every row: read, changed, dropped or kept.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::taken::Taken;
use crate::compute::numbers::thousands;
use crate::text::data::labels::spelling::shown;

/// Markup in fewer than one of this many texts is not worth a line.
const RARE: u64 = 200;

/// Labels that a line shows with their rows; it only counts the rest.
const MOST_LABELS: usize = 30;

/// The report of a whole `preprocess` run: `rows == kept + dropped.total()`, and the splits have `kept + made` rows.
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
    /// Training rows that were made from others; they are not among the rows read or kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub made: u64,
    /// What `take` asked for and got, for each split and class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<Taken>,
    /// What was understood about the labels, one sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What is probably a mistake, one sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Parameters of cleaning that are off and that many texts need; the notes say why.
    #[serde(skip)]
    pub advised: Vec<&'static str>,
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
    /// The unusable rows by reason; together these are `dropped.unusable`.
    #[serde(default)]
    pub unusable: Vec<Reason>,
    pub changed: Changed,
    /// Kept rows per label in the order of the label ids.
    #[serde(default)]
    pub labels: Vec<u64>,
    pub dates: Option<Dates>,
}

/// Dropped rows by reason. A row counts once, under the first reason in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// Unreadable rows: a wrong number of fields, no label, broken JSON.
    pub unusable: u64,
    /// Rows without the values that the source's `where` asks for.
    #[serde(default)]
    pub filtered: u64,
    /// Rows beyond the source's `limit`.
    pub over_limit: u64,
    /// Rows whose text, or the first of a pair, is empty after cleaning.
    pub empty: u64,
    /// The text is also in test (or, for training rows, in validation).
    pub leaked: u64,
    /// The text occurs with different labels. All its rows are dropped, because none can be trusted.
    pub conflicting: u64,
    /// The text occurred before with the same label.
    pub duplicate: u64,
    /// The text is nearly one of test (or, for training rows, of validation).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nearly_leaked: u64,
    /// The text is nearly an earlier one with the same label.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nearly_duplicate: u64,
    /// Rows beyond what `take` asks for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_taken: u64,
}

impl Dropped {
    pub fn total(&self) -> u64 {
        self.unusable
            + self.filtered
            + self.over_limit
            + self.empty
            + self.leaked
            + self.conflicting
            + self.duplicate
            + self.nearly_leaked
            + self.nearly_duplicate
            + self.not_taken
    }

    /// `4 unusable, 10 repeated`; empty if nothing was dropped.
    pub fn describe(&self) -> String {
        let counts = [
            (self.unusable, "unusable"),
            (self.filtered, "not asked for by `where`"),
            (self.over_limit, "over the limit"),
            (self.empty, "empty"),
            (self.leaked, "also in test"),
            (self.conflicting, "repeated with another label"),
            (self.duplicate, "repeated"),
            (self.nearly_leaked, "nearly in test"),
            (self.nearly_duplicate, "nearly repeated"),
            (self.not_taken, "not drawn by `take`"),
        ];
        let dropped = counts.iter().filter(|(rows, _)| *rows > 0);
        dropped.map(|(rows, what)| format!("{} {what}", thousands(*rows))).collect::<Vec<_>>().join(", ")
    }

    pub fn add(&mut self, other: &Dropped) {
        self.unusable += other.unusable;
        self.filtered += other.filtered;
        self.over_limit += other.over_limit;
        self.empty += other.empty;
        self.leaked += other.leaked;
        self.conflicting += other.conflicting;
        self.duplicate += other.duplicate;
        self.nearly_leaked += other.nearly_leaked;
        self.nearly_duplicate += other.nearly_duplicate;
        self.not_taken += other.not_taken;
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
    /// HTML tags and comments removed.
    #[serde(default)]
    pub html_tags: u64,
    /// Escapes replaced (`\u2019`).
    #[serde(default)]
    pub unicode_escapes: u64,
    /// Texts whose quotes around them were removed.
    #[serde(default)]
    pub unwrapped_texts: u64,
    /// HTML character references replaced (`&amp;`).
    pub html_references: u64,
    /// URLs dropped or replaced by a token.
    pub urls: u64,
    /// @mentions dropped or replaced by a token.
    pub mentions: u64,
    /// Texts in which white space was collapsed or trimmed.
    pub collapsed_texts: u64,
}

impl Report {
    /// The labels with their rows, one line for each split that has rows: `train  negative 3,310  positive 3,607`.
    pub fn label_lines(&self, labels: &[String]) -> Vec<String> {
        let splits =
            [("train", &self.splits.train), ("validation", &self.splits.validation), ("test", &self.splits.test)];
        let filled: Vec<_> = splits.into_iter().filter(|(_, split)| split.rows > 0).collect();
        let wide = filled.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let line = |(name, split): &(&str, &SplitReport)| {
            let counts = labels.iter().zip(&split.labels).take(MOST_LABELS);
            let counts: Vec<String> =
                counts.map(|(label, rows)| format!("{} {}", shown(label), thousands(*rows))).collect();
            let more = labels.len().saturating_sub(MOST_LABELS);
            let more = if more > 0 { format!("  and {more} more labels") } else { String::new() };
            format!("{name:wide$}  {}{more}", counts.join("  "))
        };
        filled.iter().map(line).collect()
    }
}

impl Changed {
    pub fn add(&mut self, other: &Changed) {
        self.cut_characters += other.cut_characters;
        self.control_characters += other.control_characters;
        self.wrongly_decoded += other.wrongly_decoded;
        self.html_tags += other.html_tags;
        self.unicode_escapes += other.unicode_escapes;
        self.unwrapped_texts += other.unwrapped_texts;
        self.html_references += other.html_references;
        self.urls += other.urls;
        self.mentions += other.mentions;
        self.collapsed_texts += other.collapsed_texts;
    }
}

/// Texts with markup that cleaning was not told to remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    /// HTML tags.
    pub html: u64,
    /// Escapes such as `\u2019`.
    pub escapes: u64,
    /// Quotes of a CSV writer around the text.
    pub wrapped: u64,
}

impl Left {
    pub(crate) fn add(&mut self, other: &Left) {
        self.html += other.html;
        self.escapes += other.escapes;
        self.wrapped += other.wrapped;
    }

    /// The parameters that remove it, if more than one text in `1 / RARE` has it, each with a sentence for the user.
    pub(crate) fn advice(&self, rows: u64) -> Vec<(&'static str, String)> {
        let found = [
            (self.html, "strip-html", "HTML tags, such as `<br />`", "removes"),
            (self.escapes, "unescape-unicode", "escapes such as `\\u2019`", "replaces"),
            (self.wrapped, "unwrap-quotes", "quotes around them that a CSV writer added", "removes"),
        ];
        let counted = found.into_iter().filter(|(texts, ..)| *texts > 0 && texts * RARE >= rows);
        let say = |(texts, key, what, does): (u64, &'static str, &str, &str)| {
            (key, format!("{} texts have {what}; `{key} = true` {does} them", thousands(texts)))
        };
        counted.map(say).collect()
    }
}

/// First and last day of a source with dates, as `YYYY-MM-DD`; empty if none can be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Dates {
    pub first: String,
    pub last: String,
    /// Rows whose date cannot be parsed; they are used nevertheless, without a date.
    pub unreadable: u64,
    /// Rows without a date.
    #[serde(default)]
    pub missing: u64,
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

fn is_zero(rows: &u64) -> bool {
    *rows == 0
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

/// Unusable rows of a source that have one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub reason: String,
    pub rows: u64,
    /// The place of the first, `FILE:LINE`, and what is particular to it.
    pub first: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Reason {
    /// Count rows by reason, in the order in which the reasons occur.
    pub fn count(rows: &[Unusable]) -> Vec<Self> {
        let mut reasons: Vec<Self> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        for row in rows {
            let at = *known.entry(&row.reason).or_insert_with(|| {
                let (reason, first, detail) = (row.reason.clone(), row.place.clone(), row.detail.clone());
                reasons.push(Reason { reason, rows: 0, first, detail });
                reasons.len() - 1
            });
            reasons[at].rows += row.rows;
        }
        reasons
    }

    /// `train.csv:12: no label`, or `train.csv: 137 rows cannot be used: no label; the first is train.csv:12`.
    pub fn describe(&self, file: &str) -> String {
        let Reason { reason, rows, first, detail } = self;
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        match rows {
            1 => format!("{first}: {reason}{detail}"),
            _ => format!("{file}: {} rows cannot be used: {reason}; the first is {first}{detail}", thousands(*rows)),
        }
    }
}
