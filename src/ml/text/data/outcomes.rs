//! The label and the prediction of each scored row, which is all that comparing two models needs.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema};

use super::corpus::{column, read_parquet, write_parquet};
use super::tokens::Split;
use crate::compute::numbers::argmax;

/// The label and the prediction of each row, in the order of the split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcomes {
    pub ids: Vec<String>,
    pub labels: Vec<u32>,
    pub predicted: Vec<u32>,
}

impl Outcomes {
    /// The outcomes for `logits` `[N, C]`; of equal logits the first wins.
    pub fn of(split: &Split, logits: &[f32], classes: usize) -> Self {
        let predicted = logits.chunks(classes).map(|row| {
            let wide: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
            argmax(&wide) as u32
        });
        Self {
            ids: (0..split.len()).map(|row| split.id(row).to_owned()).collect(),
            labels: split.labels().to_vec(),
            predicted: predicted.collect(),
        }
    }

    /// Write one parquet file with the columns id, label and predicted.
    pub fn write(&self, path: &Path) -> Result<()> {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("label", DataType::UInt32, false),
            Field::new("predicted", DataType::UInt32, false),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(&self.ids)),
            Arc::new(UInt32Array::from(self.labels.clone())),
            Arc::new(UInt32Array::from(self.predicted.clone())),
        ];
        write_parquet(path, Arc::new(schema), columns)
    }

    /// Read a file that [`Outcomes::write`] wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let mut all = Self::default();
        read_parquet(path, |batch| all.extend(batch))?;
        Ok(all)
    }

    /// Add a batch of rows. Returns the bytes that they take in memory.
    fn extend(&mut self, batch: &RecordBatch) -> Result<usize> {
        let whole = |name: &str| {
            let numbers = column(batch, name)?.as_primitive_opt::<UInt32Type>();
            numbers.with_context(|| format!("its column `{name}` is not 32-bit whole numbers"))
        };
        let ids: &StringArray = column(batch, "id")?.as_string_opt().context("its column `id` is not text")?;
        self.ids.extend((0..ids.len()).map(|row| ids.value(row).to_owned()));
        self.labels.extend(whole("label")?.values());
        self.predicted.extend(whole("predicted")?.values());
        let id = |row| ids.value(row).len() + size_of::<String>() + 2 * size_of::<u32>();
        Ok((0..ids.len()).map(id).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_back_and_a_file_that_holds_none_is_said() {
        let mut split = Split::default();
        split.push(&[1], 1, "test:1".into());
        split.push(&[1, 2], 0, "test:2".into());
        let outcomes = Outcomes::of(&split, &[0.5, 0.5, -1.0, 2.0], 2);
        assert_eq!((outcomes.labels.as_slice(), outcomes.predicted.as_slice()), (&[1, 0][..], &[0, 1][..]));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outcomes.parquet");
        outcomes.write(&path).unwrap();
        assert_eq!(Outcomes::read(&path).unwrap(), outcomes);
        let ids: ArrayRef = Arc::new(StringArray::from_iter_values(["a"]));
        write_parquet(&path, Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, false)])), vec![ids]).unwrap();
        let error = format!("{:#}", Outcomes::read(&path).unwrap_err());
        assert!(error.ends_with("outcomes.parquet: it has no column `label`"), "{error}");
        std::fs::write(&path, "no parquet").unwrap();
        assert!(Outcomes::read(&path).is_err());
    }
}
