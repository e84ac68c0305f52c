//! Writes a pipeline for data files, whose formats and columns it finds by looking at them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;
use toml_writer::{ToTomlValue, TomlStringBuilder};

use pipe_ml::compute::numbers::thousands;
use pipe_ml::text::data::declare::spec::{Format, OnUnusable, Purpose, Source, Spec, Splitting};
use pipe_ml::text::data::{Corpus, Looked, SourceReport, look, preprocess};
use pipe_ml::watch::Silent;

/// Letters of a token, on the safe side for tweets and reviews in English.
const LETTERS: usize = 3;
/// Lengths in tokens that are suggested.
const LENGTHS: [usize; 5] = [64, 128, 200, 256, 512];

/// What was found in data files, and the parts of a pipeline for them.
pub struct Starter {
    /// For the user: what the files hold, one line each.
    pub lines: Vec<String>,
    pub warnings: Vec<String>,
    /// The sources, in TOML.
    pub sources: Vec<String>,
    /// The same sources with a limit.
    pub few: Vec<String>,
    /// Further parameters of `preprocess`, in TOML.
    pub parameters: Vec<String>,
    /// A length in tokens that fits 95 % of the texts.
    pub max_length: usize,
    /// The split to score.
    pub scored: Option<&'static str>,
}

impl Starter {
    /// Look at files; the pipeline is relative to `root`.
    pub fn of(files: &[PathBuf], root: &Path) -> Result<Self> {
        let (mut sources, mut warnings) = (Vec::new(), Vec::new());
        for file in files {
            let Looked { mut source, notes } = look(file)?;
            warnings.extend(notes.iter().map(|note| format!("{}: {note}", file.display())));
            // Data that has splits says it better than its name.
            if source.split == Splitting::Train {
                source.split = purpose(file).into();
            }
            sources.push(source);
        }
        if !sources.iter().any(|source| source.split.may_be(Purpose::Train)) {
            sources.iter_mut().for_each(|source| source.split = Purpose::Train.into());
        }
        let mut spec = Spec::new(sources);
        (spec.validation, spec.unusable) = (Some(0.0), Some(OnUnusable::Drop));
        let corpus = preprocess(&spec, 0, Path::new(""), &Silent)?;
        let report = &corpus.report;
        let mut lines = Vec::new();
        lines.extend(spec.sources.iter().zip(&report.sources).map(|(source, account)| found(source, account)));
        lines.extend(report.label_lines(&corpus.labels).iter().map(|line| format!("labels  {line}")));
        let (max_length, length) = lengths(&corpus);
        lines.push(length);
        let mut parameters = Vec::new();
        parameters.extend(report.advised.iter().map(|parameter| format!("{parameter} = true")));
        let share = report.sources.iter().any(|source| source.dropped.unusable * 20 > source.rows);
        parameters.extend(share.then(|| "unusable = \"drop\" # more than 5 % of a file's rows".to_owned()));
        let has_validation = report.splits.validation.rows > 0;
        // A label with one row cannot be on both sides.
        let can_split = report.splits.train.labels.iter().all(|rows| *rows > 1);
        let validation = match (has_validation, can_split) {
            // Without the line a column or the names of splits may leave it open.
            (true, _) if spec.has_validation() => None,
            (true, _) => Some("validation = 0 # the data has validation rows".to_owned()),
            (false, true) => Some("validation = 0.1 # of the training rows".to_owned()),
            (false, false) => Some("validation = 0 # a label has one row".to_owned()),
        };
        parameters.extend(validation);
        let scored = match report.splits.test.rows > 0 {
            true => Some("test"),
            false => (has_validation || can_split).then_some("validation"),
        };
        let written =
            |limit: bool| -> Vec<String> { spec.sources.iter().map(|source| toml(source, root, limit)).collect() };
        let (sources, few) = (written(false), written(true));
        warnings.extend(report.warnings.iter().cloned());
        Ok(Self { lines, warnings, sources, few, parameters, max_length, scored })
    }
}

/// A line about what a source holds.
fn found(source: &Source, account: &SourceReport) -> String {
    let rows = thousands(account.rows);
    let purpose = match &source.split {
        Splitting::AsNamed => "for the splits that they are in".to_owned(),
        Splitting::Column(column) => format!("for what column {column} says"),
        _ => format!("for {}", account.split),
    };
    let columns = match &source.labels_file {
        Some(labels) => format!("one text per line, labels in {}", labels.display()),
        None if source.format == Some(Format::Folders) => "one text per file, labels by folder".to_owned(),
        None => {
            let pair = source.pair_column().map_or_else(String::new, |column| format!(" and {column}"));
            format!("text {}{pair}, label {}", source.text_column(), source.label_column())
        }
    };
    format!("{}: {rows} rows {purpose}, {columns}", source.path.display())
}

/// What a file is for, by its name.
fn purpose(file: &Path) -> Purpose {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let words: Vec<&str> = name.split(|letter: char| !letter.is_alphanumeric()).collect();
    let has = |names: &[&str]| words.iter().any(|word| names.contains(word));
    if has(&["test"]) {
        Purpose::Test
    } else if has(&["validation", "valid", "val", "dev", "eval"]) {
        Purpose::Validation
    } else {
        Purpose::Train
    }
}

/// A source as a table on one line, its path relative to the root.
fn toml(source: &Source, root: &Path, limit: bool) -> String {
    let quoted = |text: &str| TomlStringBuilder::new(text).as_basic().to_toml_value();
    let mut parts = vec![format!("path = {}", quoted(&relative(&source.path, root)))];
    let values = serde_json::to_value(source).unwrap_or_default();
    let set = |key: &&str| values.get(key).filter(|value| !value.is_null());
    let written = |value: &Value| match value.as_str() {
        Some(text) => quoted(text),
        None => value.to_string(),
    };
    for key in ["format", "config", "header", "delimiter", "text", "text-pair", "label"] {
        parts.extend(set(&key).map(|value| format!("{key} = {}", written(value))));
    }
    for (key, path) in [("labels-file", &source.labels_file), ("mapping", &source.mapping)] {
        parts.extend(path.as_ref().map(|path| format!("{key} = {}", quoted(&relative(path, root)))));
    }
    parts.extend(match &source.split {
        Splitting::Train => None,
        Splitting::Column(_) => {
            values.pointer("/split/column").map(|of| format!("split = {{ column = {} }}", written(of)))
        }
        _ => set(&"split").map(|split| format!("split = {}", written(split))),
    });
    let purpose = source.split.purpose().unwrap_or_default();
    if limit {
        parts.push(format!("limit = {}", if purpose == Purpose::Train { 200 } else { 50 }));
    }
    format!("{{ {} }}", parts.join(", "))
}

/// A path as the pipeline file has it: relative to the project's root if it is below it, otherwise absolute.
fn relative(path: &Path, root: &Path) -> String {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (path, root) = (whole(path), whole(if root.as_os_str().is_empty() { Path::new(".") } else { root }));
    path.strip_prefix(&root).unwrap_or(&path).display().to_string()
}

/// A length in tokens for the texts, and a line about their letters.
fn lengths(corpus: &Corpus) -> (usize, String) {
    let rows = corpus.train.iter().chain(&corpus.validation).chain(&corpus.test);
    let letters = |text: &String| text.chars().count();
    let mut lengths: Vec<usize> = rows.map(|row| letters(&row.text) + row.pair.as_ref().map_or(0, letters)).collect();
    lengths.sort_unstable();
    let at = |share: f64| lengths.get((lengths.len() as f64 * share) as usize).or(lengths.last()).copied().unwrap_or(0);
    let (median, most) = (at(0.5), at(0.95));
    let tokens = LENGTHS.into_iter().find(|length| *length >= most / LETTERS).unwrap_or(512);
    let count = |letters: usize| thousands(letters as u64);
    (
        tokens,
        format!("texts   half have up to {} letters, 95 % up to {}: max-length {tokens}", count(median), count(most)),
    )
}
