//! Predictions with their probabilities, as analyses of errors need them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt32Type};
use arrow_array::{Array, RecordBatch, StringArray};

use crate::text::data::corpus::{column, read_parquet};

/// The label, the prediction and the probabilities of each row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scored {
    pub ids: Vec<String>,
    pub labels: Vec<u32>,
    /// As the file has it: a decision may choose another class than the most probable one.
    pub predicted: Vec<u32>,
    /// `[N, C]`, each row adds up to 1.
    pub scores: Vec<f32>,
    /// C
    pub classes: usize,
}

impl Scored {
    /// Read a predictions artifact's file.
    pub fn read(path: &Path) -> Result<Self> {
        let mut all = Self::default();
        read_parquet(path, |batch| all.add(batch))?;
        Ok(all)
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The probabilities of a row, C of them.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.scores[row * self.classes..][..self.classes]
    }

    pub fn is_right(&self, row: usize) -> bool {
        self.labels[row] == self.predicted[row]
    }

    /// The probability of the predicted class.
    pub fn confidence(&self, row: usize) -> f64 {
        f64::from(self.row(row)[self.predicted[row] as usize])
    }

    /// `[label][predicted]` counts.
    pub fn confusion(&self) -> Vec<Vec<u64>> {
        let mut counts = vec![vec![0; self.classes]; self.classes];
        for (label, predicted) in self.labels.iter().zip(&self.predicted) {
            counts[*label as usize][*predicted as usize] += 1;
        }
        counts
    }

    /// Add the rows of a batch. Returns the bytes that they take in memory.
    fn add(&mut self, batch: &RecordBatch) -> Result<usize> {
        let ids: &StringArray = column(batch, "id")?.as_string_opt().context("its column `id` is not text")?;
        let whole = |name: &str| {
            let numbers = column(batch, name)?.as_primitive_opt::<UInt32Type>();
            numbers.with_context(|| format!("its column `{name}` is not 32-bit whole numbers"))
        };
        let (labels, predicted) = (whole("label")?, whole("predicted")?);
        let lists = column(batch, "scores")?.as_list_opt::<i32>().context("its column `scores` is not lists")?;
        let mut size = 0;
        for row in 0..batch.num_rows() {
            let list = lists.value(row);
            let scores =
                list.as_primitive_opt::<Float32Type>().context("its column `scores` is not of 32-bit floats")?;
            if self.ids.is_empty() {
                self.classes = scores.len();
            }
            let at = self.ids.len();
            let known = scores.len() - scores.null_count();
            ensure!(
                known == self.classes && known > 0,
                "row {at} has {known} scores, but the first row has {}",
                self.classes
            );
            ensure!(scores.values().iter().all(|score| score.is_finite()), "row {at} has a score that is not finite");
            let beyond = [labels.value(row), predicted.value(row)].into_iter().find(|of| *of as usize >= self.classes);
            if let Some(class) = beyond {
                anyhow::bail!("row {at} has class {class}, but {} scores", self.classes);
            }
            self.ids.push(ids.value(row).to_owned());
            self.labels.push(labels.value(row));
            self.predicted.push(predicted.value(row));
            self.scores.extend_from_slice(scores.values());
            size += ids.value(row).len() + size_of::<String>() + size_of::<u32>() * (2 + self.classes);
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::data::predictions;
    use crate::text::data::tokens::Split;

    #[test]
    fn predictions_are_read_with_their_probabilities() {
        let mut split = Split::default();
        split.push(&[1], 1, "test:2".into());
        split.push(&[1], 0, "test:1".into());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("predictions.parquet");
        predictions::write(&path, &split, &[0.0, 2.0, -1.0, 1.0], 2).unwrap();
        let scored = Scored::read(&path).unwrap();
        assert_eq!((&scored.labels[..], &scored.predicted[..], scored.len()), (&[1, 0][..], &[1, 1][..], 2));
        assert!((scored.confidence(0) - 1.0 / (1.0 + (-2f64).exp())).abs() < 1e-6);
        assert_eq!(scored.confusion(), [[0, 1], [0, 1]]);
        assert_eq!((scored.is_right(0), scored.is_right(1)), (true, false));
        std::fs::write(&path, "rubbish").unwrap();
        assert!(format!("{:#}", Scored::read(&path).unwrap_err()).contains("predictions.parquet"));
    }
}
