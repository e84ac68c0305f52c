//! `pipe predict`: label texts with a model.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Serialize, Serializer};

use crate::cli::context::Context;
use crate::cli::words::model::{Definition, Wanted};
use crate::error::Error;
use crate::report::{Color, color, secret};
use crate::stages::shared::predictor::{Prediction, Predictor, Texts};

/// Label texts with a model.
///
/// Texts come from --text, --input or standard input (one per line). They are cleaned as the texts were that the model
/// was trained on, if its folder says how (preprocessing.json).
#[derive(Debug, clap::Args)]
pub struct Predict {
    /// A model folder, FILE:STAGE for the output of a stage, or hf:OWNER/NAME if that has been downloaded.
    model: String,
    /// A text to label; may be given several times.
    #[arg(long, short, value_name = "TEXT")]
    text: Vec<String>,
    /// A file of texts: .csv and .tsv with a header, .jsonl, or any other file with one text per line.
    #[arg(long, short, value_name = "FILE", conflicts_with = "text")]
    input: Option<PathBuf>,
    /// The column or field with the text, in .csv, .tsv and .jsonl files.
    #[arg(long, default_value = "text", value_name = "NAME")]
    column: String,
    /// Give texts to the tokenizer as they are, however the model's training texts were cleaned.
    #[arg(long)]
    raw: bool,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
}

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    label: &'a str,
    scores: Scores<'a>,
    logits: &'a [f32],
    /// Tokens cut from the end of the text.
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

type Stream = Box<dyn Iterator<Item = Result<String, Error>>>;

impl Predict {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let dir = self.definition.find(cx, &self.model, WANTED)?;
        let texts = if self.raw { Texts::Unchanged } else { Texts::AsTrained };
        let predictor = Predictor::open(&dir, &self.device, texts).map_err(|e| Error::failed(format!("{e:#}")))?;
        if self.format == Format::Csv {
            cx.print_data(&header(&predictor)?)?;
        }
        let mut texts = self.texts()?.peekable();
        if let Some(cleaning) = predictor.cleaning() {
            let done = cleaning.describe();
            note(&format!("texts are cleaned as for training ({done}); --raw leaves them as they are"));
        }
        let (mut before, mut empty) = (0, Empty::default());
        while texts.peek().is_some() {
            let chunk: Vec<String> = texts.by_ref().take(CHUNK).collect::<Result<_, _>>()?;
            let predictions = predictor.predict(&chunk).map_err(|e| Error::failed(format!("{e:#}")))?;
            for (at, (text, prediction)) in chunk.iter().zip(&predictions).enumerate() {
                if prediction.is_empty {
                    empty.see(before + at + 1, text);
                }
                let line = match self.format {
                    Format::Jsonl => json(&predictor, text, prediction)?,
                    Format::Csv => csv_line(&record(text, prediction))?,
                };
                cx.print_data(&line)?;
            }
            before += chunk.len();
        }
        empty.describe().iter().for_each(|text| note(text));
        Ok(())
    }

    fn texts(&self) -> Result<Stream, Error> {
        let Some(path) = &self.input else {
            return Ok(if self.text.is_empty() {
                lines(std::io::stdin(), "standard input".into())
            } else {
                Box::new(self.text.clone().into_iter().map(Ok))
            });
        };
        let file =
            std::fs::File::open(path).map_err(|e| Error::failed(format!("cannot read {}: {e}", path.display())))?;
        let (name, column) = (path.display().to_string(), self.column.clone());
        match path.extension().and_then(|e| e.to_str()) {
            Some("csv") => rows(file, b',', name, &column),
            Some("tsv") => rows(file, b'\t', name, &column),
            Some("jsonl") => {
                let place = name.clone();
                Ok(Box::new(lines(file, name).enumerate().map(move |(i, line)| field(&line?, &column, &place, i + 1))))
            }
            _ => Ok(lines(file, name)),
        }
    }
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

fn lines(from: impl Read + 'static, name: String) -> Stream {
    Box::new(
        BufReader::new(from).lines().map(move |l| l.map_err(|e| Error::failed(format!("cannot read {name}: {e}")))),
    )
}

fn rows(file: std::fs::File, delimiter: u8, name: String, column: &str) -> Result<Stream, Error> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(file);
    let failed = |name: &str, e: csv::Error| Error::failed(format!("cannot read {name}: {e}"));
    let header = reader.headers().map_err(|e| failed(&name, e))?.clone();
    let at = header.iter().position(|h| h == column).ok_or_else(|| {
        let known: Vec<&str> = header.iter().collect();
        Error::failed(format!("{name} has no column `{column}`"))
            .help(format!("columns: {}; choose one with --column", known.join(", ")))
    })?;
    Ok(Box::new(
        reader
            .into_records()
            .map(move |row| row.map(|r| r.get(at).unwrap_or_default().to_string()).map_err(|e| failed(&name, e))),
    ))
}

fn field(line: &str, column: &str, name: &str, number: usize) -> Result<String, Error> {
    let value: serde_json::Value =
        serde_json::from_str(line).map_err(|e| Error::failed(format!("{name}:{number}: not JSON: {e}")))?;
    let text = value.get(column).and_then(|v| v.as_str());
    text.map(str::to_string).ok_or_else(|| {
        Error::failed(format!("{name}:{number}: the field `{column}` is missing or not a string"))
            .help("choose another field with --column")
    })
}

fn json(predictor: &Predictor, text: &str, p: &Prediction) -> Result<String, Error> {
    let scores = Scores { labels: predictor.labels(), values: &p.scores };
    let line = Line { text, label: &p.label, scores, logits: &p.logits, truncated: p.truncated };
    serde_json::to_string(&line).map(|l| l + "\n").map_err(|e| Error::failed(format!("cannot write JSON: {e}")))
}

fn header(predictor: &Predictor) -> Result<String, Error> {
    let column = |kind: &'static str| predictor.labels().iter().map(move |l| format!("{kind}:{l}"));
    let fields: Vec<String> =
        ["text".to_string(), "label".to_string()].into_iter().chain(column("score")).chain(column("logit")).collect();
    csv_line(&fields)
}

fn record(text: &str, p: &Prediction) -> Vec<String> {
    let numbers = p.scores.iter().chain(&p.logits).map(f32::to_string);
    [text.to_string(), p.label.clone()].into_iter().chain(numbers).collect()
}

fn csv_line(fields: &[String]) -> Result<String, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::failed(format!("cannot write CSV: {e}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields).map_err(|e| failed(&e))?;
    let bytes = writer.into_inner().map_err(|e| failed(&e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
