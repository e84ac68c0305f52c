//! `pipe predict`: label texts with a model.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Serialize, Serializer};

use crate::cli::context::Context;
use crate::cli::words::model::{Definition, Wanted};
use crate::error::Error;
use crate::report::{Color, color, secret};
use crate::stages::shared::predictor::{Cleaned, Decides, Prediction, Predictor, Texts};
use crate::stages::shared::texts::{File, Hint, MissingColumn, ReadError};

/// Label texts with a model.
///
/// Texts come from --text, --input or standard input (one per line). They are cleaned as the texts were that the model
/// was trained on, if its folder says how (preprocessing.json). A decision beside the model (decision.json) gives the labels
/// and the scores; without one, the highest logit does.
#[derive(Debug, clap::Args)]
pub struct Predict {
    /// A model folder, FILE:STAGE for the output of a stage, or hf:OWNER/NAME if that has been downloaded.
    model: String,
    /// A text to label; may be given several times.
    #[arg(long, short, value_name = "TEXT")]
    text: Vec<String>,
    /// The second text, for a model of pairs; as many as there are of --text.
    #[arg(long, value_name = "TEXT", requires = "text")]
    pair: Vec<String>,
    /// A file of texts, read as `preprocess` reads its sources: .csv and .tsv with a header, .jsonl, .json, .parquet,
    /// .arrow, or one text per line (.txt, or no ending); packed or not; also a folder or a pattern.
    #[arg(long, short, value_name = "FILE", conflicts_with = "text")]
    input: Option<PathBuf>,
    /// The column or field with the text; its number from 1 with --no-header.
    #[arg(long, default_value = "text", value_name = "NAME")]
    column: String,
    /// The column or field with the second text, for a model of pairs.
    #[arg(long, value_name = "NAME", requires = "input")]
    pair_column: Option<String>,
    /// The format of the input, if its ending does not say it: csv, tsv, jsonl, json, lines, parquet, arrow.
    #[arg(long, value_name = "FORMAT", requires = "input")]
    input_format: Option<String>,
    /// What divides the columns of the input: ";", "|", tab or auto.
    #[arg(long, value_name = "CHARACTER", requires = "input")]
    delimiter: Option<String>,
    /// The first line of the input is a row, not the names of columns.
    #[arg(long, requires = "input")]
    no_header: bool,
    /// Give texts to the tokenizer as they are, however the model's training texts were cleaned.
    #[arg(long)]
    raw: bool,
    /// The decision that gives labels and scores: a file or folder, or FILE:STAGE. Default: the one beside the model, if any.
    #[arg(long, value_name = "DECISION", conflicts_with = "no_decision")]
    decision: Option<String>,
    /// Ignore the decision beside the model: the highest logit gives the label.
    #[arg(long)]
    no_decision: bool,
    /// The output format.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Where to compute: auto, cpu, cuda, cuda:N, wgpu or wgpu:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: String,
    #[command(flatten)]
    definition: Definition,
}

const WANTED: Wanted = Wanted {
    types: &["model"],
    help: "give a model folder, or FILE:STAGE such as `pipelines/roberta_full.toml:teacher`",
};

const WANTED_DECISION: Wanted = Wanted {
    types: &["decision"],
    help: "give a decision.json, a folder that has one, or FILE:STAGE such as `p.toml:rule`",
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
}

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    /// The second text of a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    text_pair: Option<&'a str>,
    /// Null if the decision gives none.
    label: Option<&'a str>,
    scores: Scores<'a>,
    logits: &'a [f32],
    /// Tokens cut from the end of the text, or of both of a pair.
    #[serde(skip_serializing_if = "is_zero")]
    truncated: usize,
}

/// Probability by label, in the order of the labels.
struct Scores<'a> {
    labels: &'a [String],
    values: &'a [f32],
}

impl Serialize for Scores<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.labels.iter().zip(self.values))
    }
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Texts per write: enough to fill batches of similar length, few enough that a pipe gets results soon.
const CHUNK: usize = 256;

/// A text, and the second one of a pair.
type Row = (String, Option<String>);

type Source = Box<dyn Iterator<Item = Result<Row, Error>>>;

impl Predict {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let dir = self.definition.find(cx, &self.model, WANTED)?;
        let cleaned = if self.raw { Cleaned::Not } else { Cleaned::AsTrained };
        let mut texts = self.texts()?.peekable();
        let decision = match &self.decision {
            Some(word) => Some(self.definition.find_as(cx, ("decision", word), WANTED_DECISION)?),
            None => None,
        };
        let decides = match &decision {
            Some(path) => Decides::By(path),
            None if self.no_decision => Decides::Highest,
            None => Decides::Beside,
        };
        let predictor =
            Predictor::open(&dir, &self.device, (cleaned, decides)).map_err(|e| Error::failed(format!("{e:#}")))?;
        self.check_pairs(&predictor)?;
        predictor.remarks().iter().for_each(|remark| warn(remark));
        if let Some(cleaning) = predictor.cleaning() {
            let done = cleaning.describe();
            note(&format!("texts are cleaned as for training ({done}); --raw leaves them as they are"));
        }
        if let Some(decision) = predictor.decision() {
            let whose = if self.decision.is_some() {
                "--decision"
            } else {
                "decision.json beside the model; --no-decision ignores it"
            };
            note(&format!("labels and scores are those of the decision {} ({whose})", decision.describe()));
        }
        if self.format == Format::Csv {
            cx.print_data(&header(&predictor, self.has_pairs())?)?;
        }
        let (mut before, mut empty) = (0, Empty::default());
        while texts.peek().is_some() {
            let chunk: Vec<Row> = texts.by_ref().take(CHUNK).collect::<Result<_, _>>()?;
            let rows: Vec<Texts> =
                chunk.iter().map(|(first, second)| Texts { first, second: second.as_deref() }).collect();
            let predictions = predictor.predict(&rows).map_err(|e| Error::failed(format!("{e:#}")))?;
            for (at, (row, prediction)) in rows.into_iter().zip(&predictions).enumerate() {
                if prediction.is_empty {
                    empty.see(before + at + 1, row.first);
                }
                let line = match self.format {
                    Format::Jsonl => json(&predictor, row, prediction)?,
                    Format::Csv => csv_line(&record(row, prediction))?,
                };
                cx.print_data(&line)?;
            }
            before += chunk.len();
        }
        empty.describe().iter().for_each(|text| note(text));
        Ok(())
    }

    fn has_pairs(&self) -> bool {
        !self.pair.is_empty() || self.pair_column.is_some()
    }

    /// Refuse pairs for a model of single texts, and the other way round.
    fn check_pairs(&self, predictor: &Predictor) -> Result<(), Error> {
        match (predictor.reads_pairs(), self.has_pairs()) {
            (Some(true), false) => {
                Err(Error::failed("the model was trained on pairs of texts, but it is given single texts")
                    .help("give the second text with --pair, or its column with --pair-column"))
            }
            (Some(false), true) => Err(Error::failed("the model was trained on single texts, but it is given pairs")
                .help("leave out --pair and --pair-column")),
            _ => Ok(()),
        }
    }

    /// The texts of standard input come one by one; those of a file after all of it was read, so that a row that cannot be
    /// used is reported before the first prediction.
    fn texts(&self) -> Result<Source, Error> {
        let Some(path) = &self.input else {
            if self.has_pairs() && self.pair.len() != self.text.len() {
                let (texts, pairs) = (self.text.len(), self.pair.len());
                return Err(Error::usage(format!("--text is given {texts} times and --pair {pairs} times"))
                    .help("write one --pair for each --text, in the same order"));
            }
            let mut pairs = self.pair.clone().into_iter();
            return Ok(if self.text.is_empty() {
                lines(std::io::stdin().lock())
            } else {
                Box::new(self.text.clone().into_iter().map(move |text| Ok((text, pairs.next()))))
            });
        };
        let wanted = File {
            path,
            column: &self.column,
            pair: self.pair_column.as_deref(),
            format: self.input_format.as_deref(),
            delimiter: self.delimiter.as_deref(),
            header: !self.no_header,
        };
        let read = wanted.read().map_err(|error| self.explained(&error))?;
        read.warnings.iter().for_each(|warning| warn(warning));
        Ok(Box::new(read.texts.into_iter().map(Ok)))
    }

    /// An error of the reader, with the options that may help.
    fn explained(&self, error: &anyhow::Error) -> Error {
        let failed = Error::failed(format!("{error:#}"));
        match error.downcast_ref().and_then(advice) {
            Some(advice) => failed.help(advice),
            None => failed,
        }
    }
}

/// The options that may help against an error of the reader.
fn advice(error: &ReadError) -> Option<&'static str> {
    let format = "if it is text, name its format with --input-format, such as `--input-format lines`";
    let column = "choose a column with --column (of second texts with --pair-column); if the file has no header, add --no-header and give its number";
    match error {
        ReadError::UnknownEnding { .. } | ReadError::OtherFormat { .. } | ReadError::NoEnding { .. } => Some(format),
        ReadError::ObjectPerLine { .. } => Some("option: --input-format jsonl"),
        ReadError::MissingColumn(MissingColumn { hint: Some(Hint::Delimiter(_)), .. }) => {
            Some("options: --delimiter \";\", --input-format tsv")
        }
        ReadError::MissingColumn(_) | ReadError::NoHeader { .. } | ReadError::NumberInJson { .. } => Some(column),
        ReadError::Configurations { .. } => None,
    }
}

/// A warning on standard error; standard output has only results.
fn warn(text: &str) {
    let head = Color::of_stderr().paint(color::WARNING, "warning:");
    // A reader that has gone away misses a warning, and nothing else.
    let _ = secret::write(&mut std::io::stderr(), &format!("{head} {text}\n"));
}

/// The lines of a stream, without a mark at its start. Bytes that are not UTF-8 become U+FFFD: one line does not say what
/// else they could be.
fn lines(from: impl Read + 'static) -> Source {
    let failed = |e: std::io::Error| Error::failed(format!("cannot read standard input: {e}"));
    let decoded = move |(at, line): (usize, std::io::Result<Vec<u8>>)| {
        let line = line.map_err(failed)?;
        let line = if at == 0 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line) } else { &line };
        Ok((String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned(), None))
    };
    Box::new(BufReader::new(from).split(b'\n').enumerate().map(decoded))
}

/// Texts that were empty when the model got them.
#[derive(Default)]
struct Empty {
    count: usize,
    /// The number of the first, from 1, and whether cleaning made it empty.
    first: Option<(usize, bool)>,
}

impl Empty {
    fn see(&mut self, number: usize, text: &str) {
        self.count += 1;
        self.first.get_or_insert((number, !text.trim().is_empty()));
    }

    fn describe(&self) -> Option<String> {
        let (number, was_cleaned) = self.first?;
        let how = if was_cleaned { " after cleaning" } else { "" };
        let texts = match self.count {
            1 => format!("text {number} is empty{how}; its label says nothing"),
            count => format!("{count} texts are empty, the first of them text {number}{how}; their labels say nothing"),
        };
        Some(texts)
    }
}

/// A line on standard error; results go to standard output.
fn note(text: &str) {
    // Ignore write errors: the reader has gone away, and results do not depend on it.
    let _ =
        secret::write(&mut std::io::stderr(), &format!("{} {text}\n", Color::of_stderr().paint(color::HELP, "note:")));
}

fn json(predictor: &Predictor, row: Texts, p: &Prediction) -> Result<String, Error> {
    let scores = Scores { labels: predictor.labels(), values: &p.scores };
    let Texts { first: text, second: text_pair } = row;
    let line = Line { text, text_pair, label: p.label.as_deref(), scores, logits: &p.logits, truncated: p.truncated };
    serde_json::to_string(&line).map(|l| l + "\n").map_err(|e| Error::failed(format!("cannot write JSON: {e}")))
}

fn header(predictor: &Predictor, has_pairs: bool) -> Result<String, Error> {
    let column = |kind: &'static str| predictor.labels().iter().map(move |l| format!("{kind}:{l}"));
    let texts: &[&str] = if has_pairs { &["text", "text_pair", "label"] } else { &["text", "label"] };
    let fields: Vec<String> =
        texts.iter().map(|name| name.to_string()).chain(column("score")).chain(column("logit")).collect();
    csv_line(&fields)
}

fn record(row: Texts, p: &Prediction) -> Vec<String> {
    let numbers = p.scores.iter().chain(&p.logits).map(f32::to_string);
    let label = p.label.as_deref().unwrap_or_default();
    let texts = [Some(row.first), row.second, Some(label)].into_iter().flatten().map(str::to_owned);
    texts.chain(numbers).collect()
}

fn csv_line(fields: &[String]) -> Result<String, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::failed(format!("cannot write CSV: {e}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields).map_err(|e| failed(&e))?;
    let bytes = writer.into_inner().map_err(|e| failed(&e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
