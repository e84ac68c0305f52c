//! Writes the learning curve as a table for plotting tools: `training.parquet`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::{ArrayRef, Float64Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema};

use super::Training;
use super::report::Point;
use crate::judge::metrics::Metrics;
use crate::text::data::corpus::write_parquet;

/// A column: its name, and its value for a point and the evaluation at that point, if there was one.
type Column = (&'static str, fn(&Point, Option<&Metrics>) -> Option<f64>);

/// The columns after `step`; the validation metrics are null between evaluations.
const COLUMNS: &[Column] = &[
    ("epoch", |point, _| Some(point.epoch)),
    ("loss", |point, _| Some(point.loss)),
    ("learning_rate", |point, _| Some(point.learning_rate)),
    ("grad_norm", |point, _| Some(point.grad_norm)),
    ("validation_loss", |_, metrics| metrics.map(|m| m.loss)),
    ("validation_accuracy", |_, metrics| metrics.map(|m| m.accuracy)),
    ("validation_macro_f1", |_, metrics| metrics.map(|m| m.macro_f1)),
    ("validation_macro_auc", |_, metrics| metrics.and_then(|m| m.macro_auc)),
];

impl Training {
    /// Write one row for each point of the curve; every evaluation is at a point. Equal trainings give equal bytes.
    pub fn write_curve(&self, path: &Path) -> Result<()> {
        let metrics: BTreeMap<u64, &Metrics> =
            self.evaluations.iter().filter_map(|e| Some((e.step, e.validation.as_ref()?))).collect();
        let mut fields = vec![Field::new("step", DataType::UInt64, false)];
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(UInt64Array::from_iter_values(self.curve.iter().map(|point| point.step)))];
        for (name, value) in COLUMNS {
            let values = self.curve.iter().map(|point| value(point, metrics.get(&point.step).copied()));
            columns.push(Arc::new(values.collect::<Float64Array>()));
            fields.push(Field::new(*name, DataType::Float64, true));
        }
        write_parquet(path, Arc::new(Schema::new(fields)), columns)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float64Type, UInt64Type};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::train::fit::{Evaluation, Hyperparameters, Stop};

    fn training() -> Training {
        let point = |step: u64| Point {
            step,
            epoch: step as f64 / 4.0,
            loss: 1.0 / step as f64,
            learning_rate: 1e-3,
            grad_norm: 2.0,
        };
        let metrics = Metrics::of(&[2.0, 0.0, 0.0, 1.0], &[0, 1], &["a".into(), "b".into()]).unwrap();
        let evaluation = |step, validation| Evaluation { epoch: step as f64 / 4.0, step, train_loss: 0.5, validation };
        Training {
            options: Hyperparameters::default().into(),
            steps: 4,
            steps_per_epoch: 4,
            stop: Stop::Finished,
            best: None,
            padding: 0.0,
            trainable_parameters: 1,
            curve: vec![point(2), point(3), point(4)],
            evaluations: vec![evaluation(3, Some(metrics)), evaluation(4, None)],
        }
    }

    #[test]
    fn a_row_for_each_point_with_the_metrics_where_there_was_an_evaluation() {
        let folder = tempfile::tempdir().unwrap();
        let [path, again] = ["a.parquet", "b.parquet"].map(|name| folder.path().join(name));
        training().write_curve(&path).unwrap();
        training().write_curve(&again).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());
        let mut batches =
            ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap().build().unwrap();
        let batch = batches.next().unwrap().unwrap();
        let schema = batch.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names[..5], ["step", "epoch", "loss", "learning_rate", "grad_norm"]);
        assert_eq!(batch.column(0).as_primitive::<UInt64Type>().values(), &[2, 3, 4]);
        assert_eq!(batch.column(1).as_primitive::<Float64Type>().values(), &[0.5, 0.75, 1.0]);
        let accuracy = batch.column_by_name("validation_accuracy").unwrap().as_primitive::<Float64Type>();
        assert_eq!((accuracy.is_null(0), accuracy.value(1), accuracy.is_null(2)), (true, 1.0, true));
    }
}
