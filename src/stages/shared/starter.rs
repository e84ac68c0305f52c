//! Writes a pipeline for data files, whose formats and columns it finds by looking at them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use toml_writer::{ToTomlValue, TomlStringBuilder};

use pipe_ml::compute::numbers::thousands;
use pipe_ml::text::data::declare::spec::{OnUnusable, Purpose, Source, Spec};
use pipe_ml::text::data::{Corpus, look, preprocess};
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
        let mut sources = Vec::new();
        for file in files {
            let mut source = look(file)?;
            source.split = purpose(file).into();
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
        for (source, account) in spec.sources.iter().zip(&report.sources) {
            let pair = source.pair_column().map_or_else(String::new, |column| format!(" and {column}"));
            lines.push(format!(
                "{}: {} rows for {}, text {}{pair}, label {}",
                source.path.display(),
                thousands(account.rows),
                account.split,
                source.text_column(),
                source.label_column()
            ));
        }
        lines.extend(report.label_lines(&corpus.labels).iter().map(|line| format!("labels  {line}")));
        let (max_length, length) = lengths(&corpus);
        lines.push(length);
        let mut parameters = Vec::new();
        for (note, parameter) in [("strip-html", "strip-html = true"), ("unescape-unicode", "unescape-unicode = true")]
        {
            if report.notes.iter().any(|text| text.contains(note)) {
                parameters.push(parameter.to_owned());
            }
        }
        let share = report.sources.iter().any(|source| source.dropped.unusable * 20 > source.rows);
        parameters.extend(share.then(|| "unusable = \"drop\" # more than 5 % of a file's rows".to_owned()));
        let has_validation = spec.has_validation();
        // A label with one row cannot be on both sides.
        let can_split = report.splits.train.labels.iter().all(|rows| *rows > 1);
        let validation = match (has_validation, can_split) {
            (true, _) => None,
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
        Ok(Self { lines, warnings: report.warnings.clone(), sources, few, parameters, max_length, scored })
    }
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
    for key in ["format", "header", "delimiter", "text", "text-pair", "label"] {
        parts.extend(set(&key).map(|value| match value.as_str() {
            Some(text) => format!("{key} = {}", quoted(text)),
            None => format!("{key} = {value}"),
        }));
    }
    let purpose = source.split.purpose().unwrap_or_default();
    if purpose != Purpose::Train {
        parts.push(format!("split = \"{}\"", purpose.name()));
    }
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
