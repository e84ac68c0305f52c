//! The corpus artifact: three parquet files of labelled texts, and a description of how they were made.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int32Type};
use arrow_array::{Array, ArrayRef, Date32Array, Int32Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::report::Report;
use crate::compute::foreign::catch_panics;
use crate::text::data::clean::cleaning::Cleaning;
use crate::text::data::read::pages;

/// Rows decoded at a time before their size is known.
const BATCH_ROWS: usize = 1024;
/// Limit for the decoded bytes of rows per byte of a file, added to `FLAT`. A corpus, compressed and with repeated
/// texts stored once, takes a tenth of its rows; no stage writes a file that would take a hundredth.
const EXPANDED: usize = 100;
const FLAT: usize = 16 << 20;
/// What a page may unpack to beyond a multiple of its size.
const PAGE: usize = 64;

/// One labelled text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Unique in the corpus and equal on every machine: `train:17`, or the value of the id column.
    pub id: String,
    pub text: String,
    /// The second text of a pair. All examples of a corpus have one, or none has.
    pub pair: Option<String>,
    /// Index into [`Corpus::labels`].
    pub label: u32,
    /// Name of the source that the text comes from.
    pub source: String,
    /// When it was written, in days since 1970-01-01; None if its source does not say.
    pub day: Option<i32>,
    /// Which example it was made from, and how; None for one that was read.
    pub made: Option<Made>,
}

impl Example {
    /// The bytes that it takes in memory.
    fn size(&self) -> usize {
        let made = self.made.as_ref().map_or(0, |made| made.origin.len() + made.operation.len());
        let pair = self.pair.as_ref().map_or(0, String::len);
        size_of::<Self>() + self.id.len() + self.text.len() + self.source.len() + pair + made
    }
}

/// How an example was made from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The id of the other one, which is in the same split.
    pub origin: String,
    /// What was done: `swap`.
    pub operation: String,
}

/// Cleaned, labelled and split texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Corpus {
    pub labels: Vec<String>,
    pub train: Vec<Example>,
    pub validation: Vec<Example>,
    pub test: Vec<Example>,
    pub report: Report,
    /// How its texts were cleaned; None if the artifact does not say it.
    pub cleaning: Option<Cleaning>,
}

/// The content of `corpus.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    labels: Vec<String>,
    report: Report,
}

impl Corpus {
    /// Read a folder that [`Corpus::write`] wrote.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("corpus.json");
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let Description { labels, report } = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is not a corpus description", path.display()))?;
        let read = |name: &str| read_split(&dir.join(name), labels.len());
        let (train, validation, test) = (read("train.parquet")?, read("validation.parquet")?, read("test.parquet")?);
        Ok(Corpus { labels, train, validation, test, report, cleaning: Cleaning::open(dir)? })
    }

    /// Whether its rows are pairs of texts.
    pub fn has_pairs(&self) -> bool {
        let says_so = self.cleaning.as_ref().is_some_and(|cleaning| cleaning.pairs);
        says_so || [&self.train, &self.validation, &self.test].into_iter().flatten().any(|row| row.pair.is_some())
    }

    /// The columns that only some corpora have. All splits of a corpus have the same columns.
    fn more(&self) -> More {
        let any =
            |has: fn(&Example) -> bool| [&self.train, &self.validation, &self.test].into_iter().flatten().any(has);
        More { pairs: self.has_pairs(), days: any(|row| row.day.is_some()), made: any(|row| row.made.is_some()) }
    }

    /// Write `train.parquet`, `validation.parquet`, `test.parquet`, `corpus.json` and `preprocessing.json`.
    ///
    /// The same corpus gives the same bytes: no times, no versions, a fixed compression.
    pub fn write(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let more = self.more();
        write_split(&dir.join("train.parquet"), &self.train, more)?;
        write_split(&dir.join("validation.parquet"), &self.validation, more)?;
        write_split(&dir.join("test.parquet"), &self.test, more)?;
        let path = dir.join("corpus.json");
        let description = Description { labels: self.labels.clone(), report: self.report.clone() };
        let mut text = serde_json::to_string_pretty(&description)?;
        text.push('\n');
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        self.cleaning.as_ref().map_or(Ok(()), |cleaning| cleaning.write(dir))
    }
}

/// The columns that only some corpora have: second texts, dates, and what examples were made from.
const PAIR: &str = "text_pair";
const DATE: &str = "date";
const ORIGIN: &str = "origin";
const OPERATION: &str = "operation";

/// Which of these columns a corpus has.
#[derive(Clone, Copy)]
struct More {
    pairs: bool,
    days: bool,
    made: bool,
}

fn write_split(path: &Path, rows: &[Example], more: More) -> Result<()> {
    fn texts<'a>(rows: &'a [Example], value: impl Fn(&'a Example) -> Option<&'a str>) -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<StringArray>())
    }
    let mut columns: Vec<(&str, bool, ArrayRef)> = vec![("text", false, texts(rows, |row| Some(&row.text)))];
    if more.pairs {
        columns.push((PAIR, false, texts(rows, |row| Some(row.pair.as_deref().unwrap_or_default()))));
    }
    let labels = Int32Array::from_iter_values(rows.iter().map(|row| row.label as i32));
    columns.push(("label", false, Arc::new(labels)));
    columns.push(("source", false, texts(rows, |row| Some(&row.source))));
    columns.push(("id", false, texts(rows, |row| Some(&row.id))));
    if more.days {
        columns.push((DATE, true, Arc::new(rows.iter().map(|row| row.day).collect::<Date32Array>())));
    }
    if more.made {
        columns.push((ORIGIN, true, texts(rows, |row| Some(row.made.as_ref()?.origin.as_str()))));
        columns.push((OPERATION, true, texts(rows, |row| Some(row.made.as_ref()?.operation.as_str()))));
    }
    let field =
        |(name, nullable, column): &(&str, bool, ArrayRef)| Field::new(*name, column.data_type().clone(), *nullable);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    write_parquet(path, Arc::new(schema), columns.into_iter().map(|(.., column)| column).collect())
}

/// Write one parquet file; the same columns give the same bytes.
pub(crate) fn write_parquet(path: &Path, schema: Arc<Schema>, columns: Vec<ArrayRef>) -> Result<()> {
    let properties =
        WriterProperties::builder().set_created_by("pipe".to_owned()).set_compression(Compression::SNAPPY).build();
    let write = || -> Result<()> {
        let mut writer = ArrowWriter::try_new(File::create(path)?, schema.clone(), Some(properties))?;
        writer.write(&RecordBatch::try_new(schema, columns)?)?;
        writer.close()?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Pass the rows of a parquet file to `see`, some at a time; `see` returns the bytes that they take in memory.
pub(crate) fn read_parquet(path: &Path, mut see: impl FnMut(&RecordBatch) -> Result<usize>) -> Result<()> {
    let read = || -> Result<()> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
        let bytes = std::fs::read(path)?;
        pages::check(&bytes, builder.metadata(), PAGE)?;
        let mut room = bytes.len().saturating_mul(EXPANDED).saturating_add(FLAT);
        drop(bytes);
        for batch in builder.with_batch_size(BATCH_ROWS).build()? {
            room = room.checked_sub(see(&batch?)?).context("it unpacks to more than a file of its size can hold")?;
        }
        Ok(())
    };
    catch_panics(read).with_context(|| format!("cannot read {}", path.display()))
}

/// The column with this name.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).with_context(|| format!("it has no column `{name}`"))
}

fn read_split(path: &Path, classes: usize) -> Result<Vec<Example>> {
    let mut rows = Vec::new();
    read_parquet(path, |batch| {
        let text = |name: &str| -> Result<&StringArray> {
            column(batch, name)?.as_string_opt().with_context(|| format!("its column `{name}` is not text"))
        };
        let text_if = |name: &str| batch.column_by_name(name).map(|_| text(name)).transpose();
        let (texts, sources, ids) = (text("text")?, text("source")?, text("id")?);
        let (pairs, origins, operations) = (text_if(PAIR)?, text_if(ORIGIN)?, text_if(OPERATION)?);
        let days = batch.column_by_name(DATE).map(|days| days.as_primitive_opt::<Date32Type>());
        let days = days.map(|days| days.context("its column `date` is not dates")).transpose()?;
        let labels = column(batch, "label")?
            .as_primitive_opt::<Int32Type>()
            .context("its column `label` is not 32-bit integers")?;
        let mut size = 0;
        for row in 0..batch.num_rows() {
            let label = labels.value(row);
            if label < 0 || label as usize >= classes || texts.is_null(row) {
                bail!("row {} has label {label}; corpus.json declares {classes} labels", rows.len());
            }
            let value = |column: &StringArray| column.is_valid(row).then(|| column.value(row).to_owned());
            let made = |origin: String| Made { origin, operation: operations.and_then(value).unwrap_or_default() };
            let example = Example {
                id: ids.value(row).to_owned(),
                text: texts.value(row).to_owned(),
                pair: pairs.map(|pairs| pairs.value(row).to_owned()),
                label: label as u32,
                source: sources.value(row).to_owned(),
                day: days.and_then(|days| days.is_valid(row).then(|| days.value(row))),
                made: origins.and_then(value).map(made),
            };
            size += example.size();
            rows.push(example);
        }
        Ok(size)
    })?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus() -> Corpus {
        let row = |id: &str, text: &str, label| Example {
            id: id.to_owned(),
            text: text.to_owned(),
            pair: None,
            label,
            source: "train".to_owned(),
            day: None,
            made: None,
        };
        Corpus {
            labels: vec!["no".to_owned(), "yes".to_owned()],
            train: vec![row("train:1", "don’t", 0), row("train:2", "do", 1)],
            validation: vec![row("train:3", "perhaps", 1)],
            test: Vec::new(),
            report: Report::default(),
            cleaning: Some(Cleaning::default()),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        corpus().write(dir.path()).unwrap();
        assert_eq!(Corpus::open(dir.path()).unwrap(), corpus());
    }

    #[test]
    fn only_a_corpus_of_pairs_has_the_column_of_second_texts() {
        let dir = tempfile::tempdir().unwrap();
        let columns = |name: &str| {
            let file = File::open(dir.path().join(name)).unwrap();
            let schema = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().schema().clone();
            schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>()
        };
        corpus().write(dir.path()).unwrap();
        assert_eq!(columns("train.parquet"), ["text", "label", "source", "id"]);
        let mut pairs = corpus();
        for (at, row) in pairs.train.iter_mut().chain(&mut pairs.validation).enumerate() {
            row.pair = Some(["second", "", "other"][at].to_owned());
        }
        pairs.write(dir.path()).unwrap();
        for name in ["train.parquet", "test.parquet"] {
            assert_eq!(columns(name), ["text", "text_pair", "label", "source", "id"], "{name}");
        }
        assert_eq!(Corpus::open(dir.path()).unwrap(), pairs);
    }

    #[test]
    fn dates_and_origins_are_columns_only_if_a_row_has_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut dated = corpus();
        dated.validation[0].day = Some(18_337);
        dated.train[1].made = Some(Made { origin: "train:1".to_owned(), operation: "swap".to_owned() });
        dated.write(dir.path()).unwrap();
        let file = File::open(dir.path().join("test.parquet")).unwrap();
        let schema = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().schema().clone();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["text", "label", "source", "id", "date", "origin", "operation"]);
        assert_eq!(Corpus::open(dir.path()).unwrap(), dated);
    }

    #[test]
    fn the_same_corpus_gives_the_same_bytes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        corpus().write(one.path()).unwrap();
        corpus().write(two.path()).unwrap();
        for name in ["train.parquet", "validation.parquet", "test.parquet", "corpus.json"] {
            let (one, two) = (std::fs::read(one.path().join(name)), std::fs::read(two.path().join(name)));
            assert_eq!(one.unwrap(), two.unwrap(), "{name}");
        }
    }

    #[test]
    fn a_label_beyond_the_declared_ones_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut bad = corpus();
        bad.train[0].label = 7;
        bad.write(dir.path()).unwrap();
        let message = format!("{:#}", Corpus::open(dir.path()).unwrap_err());
        assert!(message.contains("train.parquet") && message.contains("label 7"), "{message}");
    }
}
