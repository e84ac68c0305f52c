//! The user's specification of a corpus: its files, and how to clean and split them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::purpose::Purpose;
pub use super::source::{Column, Delimiter, Splitting};
use super::take::Take;
pub use super::wanted::Wanted;

/// Share of the training rows that is set aside by default.
pub const DEFAULT_VALIDATION: f64 = 0.1;

/// The five labels of the COVID-19 tweets, from bad to good.
pub const COVID19_LABELS: [&str; 5] = ["Extremely Negative", "Negative", "Neutral", "Positive", "Extremely Positive"];

/// Which files make the corpus, and how they are cleaned and split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The files to read: `{ path = "data/train.csv", format = "covid19" }`. At least one must be for training.
    pub sources: Vec<Source>,
    /// The labels, in the order of their ids; a source whose labels are numbers from 0 gets these names by order.
    /// Default: the five of the COVID-19 tweets if every source has that format, otherwise the distinct labels of the
    /// training sources, sorted (as numbers if all are numbers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// Share of the training rows set aside for validation, stratified by label and seeded. Default: 0.1, or 0 if a
    /// source has `split = "validation"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// What to do with URLs: `"keep"`, `"drop"`, or `{ token = "http" }` to replace them with a word.
    #[serde(default)]
    pub urls: Treatment,
    /// What to do with @mentions: `"keep"`, `"drop"`, or `{ token = "@user" }`.
    #[serde(default)]
    pub mentions: Treatment,
    /// Rewrite texts as a model's authors did before its training, after all other cleaning: `"twitter-roberta"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalise: Option<Normalise>,
    /// Remove HTML tags and comments: `<br />` and other breaks become white space, `<b>` nothing. Only names of HTML
    /// elements count, so `<user>` and `<3` stay.
    #[serde(default, skip_serializing_if = "is_no")]
    pub strip_html: bool,
    /// Replace escapes of characters that are in the text as such: `\\u2019` becomes `’`.
    #[serde(default, skip_serializing_if = "is_no")]
    pub unescape_unicode: bool,
    /// Unwrap texts that a CSV writer put in quotes: `"a ""b"" c"` becomes `a "b" c`. For files without CSV's quoting,
    /// such as TSV. A text in quotes that has no doubled quotes stays.
    #[serde(default, skip_serializing_if = "is_no")]
    pub unwrap_quotes: bool,
    /// Replace HTML character references: `&amp;` becomes `&`.
    #[serde(default = "yes")]
    pub unescape_html: bool,
    /// Repair the effects of wrong encodings: remove truncated characters, and turn `don\u{92}t`, `donÂ’t` and
    /// `donâ€™t` into `don’t`.
    #[serde(default = "yes")]
    pub repair_encoding: bool,
    /// Collapse white space, including line breaks, into single spaces, and trim the ends.
    #[serde(default = "yes")]
    pub collapse_whitespace: bool,
    /// Drop repeated texts from train and validation. Texts count as equal regardless of case, white space and URLs. If
    /// their labels agree, the first row stays; otherwise none stays. Test keeps all its rows.
    #[serde(default = "yes")]
    pub dedupe: bool,
    /// Drop training rows whose text is also in a test or validation source, and validation rows that are in test.
    #[serde(default = "yes")]
    pub leakage: bool,
    /// Also treat texts as equal that are nearly so: the least share of sequences of three words that two texts have in common
    /// (Jaccard, by MinHash), such as 0.8. `leakage` and `dedupe` say which rows go; near texts with different labels stay. Default:
    /// equal texts only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near_duplicates: Option<f64>,
    /// How many rows of each class to take: `{ per-class = 15000, test-per-class = 2000, within = "source" }`. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take: Option<Take>,
    /// What to do if rows cannot be used (a wrong number of fields, no label, broken JSON): `"drop"` leaves out any
    /// number of them, `"error"` accepts none. Default: they are left out with a warning, but more than 5 % of a source
    /// are an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<OnUnusable>,
}

/// A file of labelled texts, or several: a folder, a pattern, a data set. gzip, zip and zstd are recognised by the content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// The file, relative to the project's root; or a folder, a pattern such as `data/*.csv`, or
    /// `hf:datasets/OWNER/NAME@REVISION`.
    pub path: PathBuf,
    /// The format of the file. Default: what its ending says (`.csv`, `.csv.gz`, `.TSV`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// What its rows are used for: `"train"`, `"validation"`, `"test"`, or `{ column = "split" }`. Of a data set with
    /// splits of its own also which split is read; `"as-named"` reads all.
    #[serde(default)]
    pub split: Splitting,
    /// Column with the text, by name or by number counted from 1; in JSON also a path such as `data.text`. Default:
    /// `text`; for covid19 `OriginalTweet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Column>,
    /// Column with the second text of a pair (premise and hypothesis, question and answer). Default: rows have one text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<Column>,
    /// Column with the label. Default: `label`; for covid19 `Sentiment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Column>,
    /// Column with an id for each row. Default: none; rows get the id `FILE:NUMBER`, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Column>,
    /// Column that says when a text was written: the corpus keeps the day. Default: none; for covid19 `TweetAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Column>,
    /// How the dates are written, as in strftime: `"%d.%m.%Y %H:%M"`. Default: ISO 8601 (`2018-10-10T20:19:24Z`), RFC 2822,
    /// Twitter's `Wed Oct 10 20:19:24 +0000 2018` and epoch seconds are recognised; for covid19's `TweetAt` `%d-%m-%Y`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_format: Option<String>,
    /// Whether the first line of CSV or TSV names the columns. If not, name `text` and `label` by number.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub header: bool,
    /// What divides the fields: `";"`, `"|"`, `"tab"`, or `"auto"` to look at the lines. Default: a comma, a tab for TSV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<Delimiter>,
    /// A file with one label a line, for `lines`: the label of each text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_file: Option<PathBuf>,
    /// A file that names the labels: `0`, a tab or spaces, `negative` on each line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<PathBuf>,
    /// The configuration of a data set that has several: `sentiment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The file to read of a zip archive that holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Use only this many rows of the file, drawn with the seed (the same rows on every machine).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// New names for the labels of this source: `{ 0 = "negative", 1 = "positive" }`. Two labels may get one name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_map: Option<BTreeMap<String, String>>,
    /// Use only the rows whose columns have these values: `{ lang = "en" }`, `{ lang = ["en", "de"] }`.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub only: Option<BTreeMap<String, Wanted>>,
}

/// What to do if rows of a source cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnusable {
    /// Leave them out, however many they are.
    Drop,
    /// Refuse the source.
    Error,
}

/// File formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// The Kaggle file of COVID-19 tweets (`OriginalTweet`, `Sentiment`, `TweetAt`).
    Covid19,
    /// Comma-separated (or by `delimiter`) with a header line, quoted as in RFC 4180.
    Csv,
    /// Tab-separated with a header line; quotes have no special meaning.
    Tsv,
    /// One JSON object per line.
    Jsonl,
    /// One JSON array of objects.
    Json,
    /// One text per line; the labels are in `labels-file`.
    Lines,
    /// A parquet file.
    Parquet,
    /// An Arrow IPC file or stream, also Feather.
    Arrow,
    /// A text per file; the folder that a file is in names its label (`train/pos/0_9.txt`).
    Folders,
    /// A data set as the Hugging Face libraries lay it out: a repository, or a folder of `save_to_disk`.
    Dataset,
}

/// What to do with URLs or mentions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Treatment {
    /// Leave them unchanged.
    #[default]
    Keep,
    /// Remove them.
    Drop,
    /// Replace them with this word.
    Token(String),
}

/// How a model's authors rewrote texts before training it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// For cardiffnlp's models (`preprocess` in their model cards): between two spaces, a word that begins with `@`
    /// becomes `@user`, and one that begins with `http` becomes `http`. `urls` and `mentions` go further: they also
    /// match inside a word, keep the punctuation after a name, and recognise `www.`.
    TwitterRoberta,
}

fn yes() -> bool {
    true
}

pub(crate) fn is_no(value: &bool) -> bool {
    !value
}

fn is_yes(value: &bool) -> bool {
    *value
}

impl Spec {
    /// A specification with every default.
    pub fn new(sources: Vec<Source>) -> Self {
        Spec {
            sources,
            labels: None,
            validation: None,
            urls: Treatment::Keep,
            mentions: Treatment::Keep,
            normalise: None,
            strip_html: false,
            unescape_unicode: false,
            unwrap_quotes: false,
            unescape_html: true,
            repair_encoding: true,
            collapse_whitespace: true,
            dedupe: true,
            leakage: true,
            near_duplicates: None,
            take: None,
            unusable: None,
        }
    }

    /// Whether its rows are pairs of texts.
    pub fn has_pairs(&self) -> bool {
        self.sources.iter().any(|source| source.text_pair.is_some())
    }

    /// The labels, if they are known before any file is read.
    pub fn known_labels(&self) -> Option<Vec<String>> {
        let covid = !self.sources.is_empty() && self.sources.iter().all(|source| source.is_covid19());
        self.labels.clone().or_else(|| covid.then(|| COVID19_LABELS.map(str::to_owned).to_vec()))
    }
}

impl Source {
    pub fn new(path: impl Into<PathBuf>, format: Format, split: Purpose) -> Self {
        Source { format: Some(format), split: split.into(), ..Source::at(path) }
    }

    /// A source with every default.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Source {
            path: path.into(),
            format: None,
            split: Splitting::Train,
            text: None,
            text_pair: None,
            label: None,
            id: None,
            date: None,
            date_format: None,
            header: true,
            delimiter: None,
            labels_file: None,
            mapping: None,
            config: None,
            member: None,
            limit: None,
            label_map: None,
            only: None,
        }
    }

    pub fn is_covid19(&self) -> bool {
        self.format == Some(Format::Covid19)
    }

    pub fn text_column(&self) -> Column {
        let default = if self.is_covid19() { "OriginalTweet" } else { "text" };
        self.text.clone().unwrap_or_else(|| default.into())
    }

    pub fn label_column(&self) -> Column {
        let default = if self.is_covid19() { "Sentiment" } else { "label" };
        self.label.clone().unwrap_or_else(|| default.into())
    }

    /// The column with the dates. That of covid19 may be missing.
    pub fn date_column(&self) -> Option<Column> {
        self.date.clone().or_else(|| self.is_covid19().then(|| "TweetAt".into()))
    }

    /// The column with the second text of a pair.
    pub fn pair_column(&self) -> Option<Column> {
        self.text_pair.clone()
    }

    /// Further columns whose values are wanted, in [`Raw::others`](crate::text::data::read::raw::Raw::others).
    pub fn other_columns(&self) -> Vec<Column> {
        self.only.iter().flatten().map(|(name, _)| name.as_str().into()).collect()
    }
}
