//! The corpus artifact: three parquet files of labelled texts, and a description of how they were made.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
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

    /// Write `train.parquet`, `validation.parquet`, `test.parquet`, `corpus.json` and `preprocessing.json`.
    ///
    /// The same corpus gives the same bytes: no times, no versions, a fixed compression.
    pub fn write(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let pairs = self.has_pairs();
        write_split(&dir.join("train.parquet"), &self.train, pairs)?;
        write_split(&dir.join("validation.parquet"), &self.validation, pairs)?;
        write_split(&dir.join("test.parquet"), &self.test, pairs)?;
        let path = dir.join("corpus.json");
        let description = Description { labels: self.labels.clone(), report: self.report.clone() };
        let mut text = serde_json::to_string_pretty(&description)?;
        text.push('\n');
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        self.cleaning.as_ref().map_or(Ok(()), |cleaning| cleaning.write(dir))
    }
}

/// The column with the second texts, which only a corpus of pairs has.
const PAIR: &str = "text_pair";

fn write_split(path: &Path, rows: &[Example], pairs: bool) -> Result<()> {
    let text =
        |column: fn(&Example) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(column))) };
    let mut fields = vec![
        Field::new("text", DataType::Utf8, false),
        Field::new("label", DataType::Int32, false),
        Field::new("source", DataType::Utf8, false),
        Field::new("id", DataType::Utf8, false),
    ];
    let mut columns: Vec<ArrayRef> = vec![
        text(|row| &row.text),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.label as i32))),
        text(|row| &row.source),
        text(|row| &row.id),
    ];
    if pairs {
        fields.insert(1, Field::new(PAIR, DataType::Utf8, false));
        columns.insert(1, text(|row| row.pair.as_deref().unwrap_or_default()));
    }
    write_parquet(path, Arc::new(Schema::new(fields)), columns)
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
        let (texts, sources, ids) = (text("text")?, text("source")?, text("id")?);
        let pairs = if batch.column_by_name(PAIR).is_some() { Some(text(PAIR)?) } else { None };
        let labels = column(batch, "label")?
            .as_primitive_opt::<Int32Type>()
            .context("its column `label` is not 32-bit integers")?;
        let mut size = 0;
        for row in 0..batch.num_rows() {
            let label = labels.value(row);
            if label < 0 || label as usize >= classes || texts.is_null(row) {
                bail!("row {} has label {label}; corpus.json declares {classes} labels", rows.len());
            }
            let pair = pairs.map(|pairs| pairs.value(row).to_owned());
            size += pair.as_ref().map_or(0, String::len);
            size += texts.value(row).len() + sources.value(row).len() + ids.value(row).len() + size_of::<Example>();
            rows.push(Example {
                id: ids.value(row).to_owned(),
                text: texts.value(row).to_owned(),
                pair,
                label: label as u32,
                source: sources.value(row).to_owned(),
            });
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
