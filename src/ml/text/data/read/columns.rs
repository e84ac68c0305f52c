//! The columns of a file as its first rows show them, and which of them are text, label and split.

use std::ops::ControlFlow;

use anyhow::{Result, bail};
use csv::{ByteRecord, ReaderBuilder};
use serde_json::Value;

use super::columnar::{self, FirstRows};
use super::content::{self, Content, Text};
use super::features::Classes;
use super::json;
use super::layout::Place;
use super::listed::listed;
use super::raw::{Cut, Decoder};
use super::seen::Seen;
use super::sniff;
use super::usual::{LABELS, SPLITS, TEXTS, pair, position};
use crate::text::data::declare::spec::{Delimiter, Format};

/// Rows that are looked at: enough to tell texts from labels.
const ROWS: usize = 2000;
/// Columns that are looked at; more fields than these are no table.
const MOST_COLUMNS: usize = 1000;
/// How deep fields within fields are looked for.
const DEEPEST: usize = 4;

/// What the first rows of a file show.
#[derive(Debug)]
pub(crate) struct Columns {
    /// The format, if the file's name does not say it.
    pub format: Option<Format>,
    /// The delimiter, if it is not that of the format.
    pub delimiter: Option<Delimiter>,
    /// Whether the columns have names: those of a header, or of fields.
    pub header: bool,
    pub all: Vec<Seen>,
    /// The names of classes that the file itself has.
    classes: Classes,
}

/// The columns with the roles of a source, by their place among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub text: usize,
    /// The second text, if they are pairs.
    pub pair: Option<usize>,
    pub label: usize,
    pub split: Option<usize>,
}

/// The columns of a file. None if it has none: one text per line.
pub(crate) fn columns(place: &Place) -> Result<Option<Columns>> {
    let typed = |FirstRows { columns, classes }| Columns { all: columns, classes, ..Columns::of(Vec::new()) };
    Ok(Some(match content::open(place, None)? {
        Content::Parquet => typed(columnar::first_rows(&place.path, None, ROWS)?),
        Content::Arrow(bytes) => typed(columnar::first_rows(&place.path, Some(&bytes), ROWS)?),
        Content::Text(text) => {
            let decoder = Decoder { encoding: text.decoded_as(), cut: Cut::Remove };
            match text.format {
                Some(Format::Jsonl) => Columns::of(objects_of_lines(&text, decoder)?),
                Some(Format::Json) => Columns::of(objects_of_array(&text, decoder)?),
                Some(format @ (Format::Csv | Format::Covid19)) => delimited(format, &text, decoder)?,
                Some(Format::Tsv) => delimited(Format::Tsv, &text, decoder)?,
                // Tables have this ending too.
                Some(Format::Lines) if sniff::has_tabs(text.bytes()) => {
                    Columns { format: Some(Format::Tsv), ..delimited(Format::Tsv, &text, decoder)? }
                }
                _ => return Ok(None),
            }
        }
    }))
}

impl Columns {
    fn of(all: Vec<Seen>) -> Self {
        Self { format: None, delimiter: None, header: true, all, classes: Classes::new() }
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.all.iter().map(|column| column.name.as_str()).collect()
    }

    /// The columns with the usual names and with classes; otherwise the one with the longest texts, and the one with the
    /// fewest values. `classes` are those that a description beside the file has.
    pub(crate) fn choose(&self, classes: &Classes) -> Result<Chosen> {
        let all = &self.all;
        // Names of fields in others count by their last part: `data.text`.
        let last = |name: &'_ str| name.rsplit('.').next().unwrap_or_default().to_owned();
        let names: Vec<String> = self.names().into_iter().map(last).collect();
        let names: Vec<&str> = if self.header { names.iter().map(String::as_str).collect() } else { Vec::new() };
        let columns = || (0..all.len()).filter(|at| all[*at].has_texts);
        let pair = pair(&names).filter(|(first, second)| all[*first].has_texts && all[*second].has_texts);
        let text = pair.map(|(first, _)| first).or_else(|| position(&names, &TEXTS).filter(|at| all[*at].has_texts));
        let text = text.or_else(|| columns().filter(|at| !all[*at].is_numbers()).max_by_key(|at| all[*at].length()));
        let Some(text) = text else { bail!("no column looks like a text; its columns are {}", self.listed()) };
        let split = position(&names, &SPLITS).filter(|at| *at != text && all[*at].is_split());
        let others = || (0..all.len()).filter(|at| *at != text && Some(*at) != split);
        let has_classes = |at: &usize| {
            let name = &all[*at].name;
            self.classes.iter().chain(classes).any(|(column, _)| column == name)
        };
        let named = || position(&names, &LABELS).filter(|at| *at != text && Some(*at) != split);
        let label = named().filter(has_classes).or_else(|| others().find(has_classes)).or_else(named);
        let by_values = || others().filter(|at| all[*at].may_be_label()).min_by_key(|at| all[*at].distinct());
        let Some(label) = label.or_else(by_values) else {
            bail!("no column looks like a label; its columns are {}", self.listed())
        };
        let pair = pair.map(|(_, second)| second).filter(|second| *second != label);
        Ok(Chosen { text, pair, label, split })
    }

    fn listed(&self) -> String {
        listed(&self.all.iter().map(|column| column.name.clone()).collect::<Vec<_>>())
    }
}

fn delimited(format: Format, text: &Text, decoder: Decoder) -> Result<Columns> {
    let is_tsv = format == Format::Tsv;
    let usual = if is_tsv { b'\t' } else { b',' };
    let used = sniff::delimiter(text.bytes(), !is_tsv, usual);
    let mut reader = ReaderBuilder::new()
        .delimiter(used)
        .quoting(!is_tsv)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.bytes());
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record)? {
        bail!("the file is empty");
    }
    let value = |field: &[u8]| decoder.decode(field).0.trim().to_owned();
    let mut all: Vec<Seen> = record.iter().map(|name| Seen::new(value(name), true)).collect();
    for _ in 0..ROWS {
        if !reader.read_byte_record(&mut record)? {
            break;
        }
        all.iter_mut().zip(&record).for_each(|(column, field)| column.values.push(value(field)));
    }
    let names: Vec<&str> = all.iter().map(|column| column.name.as_str()).collect();
    let header = position(&names, &TEXTS).is_some() || !names.iter().any(|name| sniff::is_text(name));
    if !header {
        all.iter_mut().for_each(|column| column.values.insert(0, column.name.clone()));
    }
    let delimiter = (used != usual).then_some(Delimiter::Byte(used));
    Ok(Columns { delimiter, header, ..Columns::of(all) })
}

fn objects_of_lines(text: &Text, decoder: Decoder) -> Result<Vec<Seen>> {
    let mut objects = Objects::default();
    let lines = text.bytes().split(|byte| *byte == b'\n').map(|line| line.trim_ascii()).filter(|line| !line.is_empty());
    for (at, line) in lines.take(ROWS).enumerate() {
        match serde_json::from_str(&decoder.decode(line).0) {
            Ok(value @ Value::Object(_)) => objects.see(&value),
            _ if at == 0 => bail!("the first line is not a JSON object"),
            _ => {}
        }
    }
    Ok(objects.columns)
}

fn objects_of_array(text: &Text, decoder: Decoder) -> Result<Vec<Seen>> {
    let mut objects = Objects::default();
    json::elements(&text.name, &decoder.decode(text.bytes()).0, |_, value| {
        objects.see(&value);
        if objects.rows < ROWS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(objects.columns)
}

/// The fields of the objects so far.
#[derive(Default)]
struct Objects {
    columns: Vec<Seen>,
    rows: usize,
}

impl Objects {
    fn see(&mut self, value: &Value) {
        self.rows += 1;
        self.field(String::new(), value, 0);
    }

    fn field(&mut self, name: String, value: &Value, depth: usize) {
        if let Value::Object(fields) = value {
            for (inner, value) in fields.iter().filter(|_| depth < DEEPEST) {
                let name = if name.is_empty() { inner.clone() } else { format!("{name}.{inner}") };
                self.field(name, value, depth + 1);
            }
        } else if let Some(text) = json::scalar(value).filter(|_| !name.is_empty()) {
            let is_known = |column: &Seen| column.name == name;
            if self.columns.len() >= MOST_COLUMNS && !self.columns.iter().any(is_known) {
                return;
            }
            let at = self.columns.iter().position(is_known).unwrap_or_else(|| {
                self.columns.push(Seen::new(name, value.is_string()));
                self.columns.len() - 1
            });
            self.columns[at].values.push(text);
        }
    }
}
