//! The predictions artifact: a parquet file with one row for each scored row.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow_array::builder::{Float32Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt32Type};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema};

use super::corpus::{column, read_parquet, write_parquet};
use super::tokens::Split;
use crate::compute::numbers::{argmax, log_softmax};

/// Write id, label, predicted, scores (probabilities) and logits of every row of `split`; `logits` is `[N, C]`.
pub fn write(path: &Path, split: &Split, logits: &[f32], classes: usize) -> Result<()> {
    let (mut predicted, mut log_p) = (Vec::new(), Vec::with_capacity(logits.len()));
    for row in logits.chunks(classes) {
        let wide: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
        predicted.push(argmax(&wide) as u32);
        log_p.extend(log_softmax(&wide));
    }
    write_decided(path, split, logits, &Given { predicted: &predicted, log_p: &log_p, abstained: None })
}

/// What the rows are given.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// `[N]`
    pub predicted: &'a [u32],
    /// Log-probabilities, `[N, C]`.
    pub log_p: &'a [f64],
    /// `[N]`; writes a column `abstained`.
    pub abstained: Option<&'a [bool]>,
}

/// The same for rows that a decision gave labels and probabilities. `logits` are those of the model, without temperature.
pub fn write_decided(path: &Path, split: &Split, logits: &[f32], given: &Given) -> Result<()> {
    let list = || DataType::List(Arc::new(Field::new_list_field(DataType::Float32, true)));
    let mut fields = vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("label", DataType::UInt32, false),
        Field::new("predicted", DataType::UInt32, false),
        Field::new("scores", list(), false),
        Field::new("logits", list(), false),
    ];
    let classes = logits.len() / split.len().max(1);
    let lists = |values: &mut dyn Iterator<Item = f32>| {
        let mut out = ListBuilder::new(Float32Builder::new());
        for (at, value) in values.enumerate() {
            out.values().append_value(value);
            if (at + 1) % classes == 0 {
                out.append(true);
            }
        }
        out.finish()
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values((0..split.len()).map(|i| split.id(i)))),
        Arc::new(UInt32Array::from(split.labels().to_vec())),
        Arc::new(UInt32Array::from(given.predicted.to_vec())),
        Arc::new(lists(&mut given.log_p.iter().map(|l| l.exp() as f32))),
        Arc::new(lists(&mut logits.iter().copied())),
    ];
    if let Some(abstained) = given.abstained {
        fields.push(Field::new("abstained", DataType::Boolean, false));
        columns.push(Arc::new(BooleanArray::from(abstained.to_vec())));
    }
    write_parquet(path, Arc::new(Schema::new(fields)), columns)
}

/// The predictions of a model for some rows, as [`write()`] wrote them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    pub ids: Vec<String>,
    pub labels: Vec<u32>,
    /// `[N, C]`
    pub logits: Vec<f32>,
    /// C
    pub classes: usize,
}

impl Predictions {
    /// Read a file that [`write()`] wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let mut all = Self::default();
        read_parquet(path, |batch| all.add(batch))?;
        Ok(all)
    }

    /// Add the rows of a batch. Returns the bytes that they take in memory.
    fn add(&mut self, batch: &RecordBatch) -> Result<usize> {
        let ids: &StringArray = column(batch, "id")?.as_string_opt().context("its column `id` is not text")?;
        let labels = column(batch, "label")?
            .as_primitive_opt::<UInt32Type>()
            .context("its column `label` is not 32-bit integers")?;
        let lists = column(batch, "logits")?.as_list_opt::<i32>().context("its column `logits` is not lists")?;
        let mut size = 0;
        for row in 0..batch.num_rows() {
            let list = lists.value(row);
            let logits =
                list.as_primitive_opt::<Float32Type>().context("its column `logits` is not of 32-bit floats")?;
            if self.ids.is_empty() {
                self.classes = logits.len();
            }
            ensure!(
                logits.len() == self.classes && logits.null_count() == 0 && self.classes > 0,
                "row {} has {} logits, but the first row has {}",
                self.ids.len(),
                logits.len() - logits.null_count(),
                self.classes
            );
            self.ids.push(ids.value(row).to_owned());
            self.labels.push(labels.value(row));
            self.logits.extend_from_slice(logits.values());
            size += ids.value(row).len() + size_of::<String>() + size_of::<u32>() * (1 + self.classes);
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split() -> Split {
        let mut split = Split::default();
        split.push(&[1], 1, "train:2".into());
        split.push(&[1], 0, "train:1".into());
        split
    }

    #[test]
    fn logits_come_back_to_the_bit() {
        // Values that a text format would round, and values that compare equal but differ in bits.
        let logits = [0.1, f32::MIN_POSITIVE / 3.0, -0.0, 1.0 + f32::EPSILON, f32::MAX, -1e-30];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("predictions.parquet");
        write(&path, &split(), &logits, 3).unwrap();
        let back = Predictions::read(&path).unwrap();
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back.logits), bits(&logits));
        assert_eq!((back.ids, back.labels, back.classes), (vec!["train:2".into(), "train:1".into()], vec![1, 0], 3));
    }

    #[test]
    fn a_file_that_is_not_ours_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("predictions.parquet");
        std::fs::write(&path, b"rubbish").unwrap();
        let message = format!("{:#}", Predictions::read(&path).unwrap_err());
        assert!(message.contains("predictions.parquet"), "{message}");
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, false)]));
        let ids: ArrayRef = Arc::new(StringArray::from_iter_values(["a"]));
        write_parquet(&path, schema, vec![ids]).unwrap();
        let message = format!("{:#}", Predictions::read(&path).unwrap_err());
        assert!(message.ends_with("it has no column `label`"), "{message}");
    }
}
