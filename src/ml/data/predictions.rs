//! The predictions artifact: one parquet row for each scored row.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::builder::{Float32Builder, ListBuilder};
use arrow_array::{ArrayRef, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema};

use super::corpus::write_parquet;
use super::tokens::Split;
use crate::ml::metrics::{argmax, log_softmax};

/// Write id, label, predicted, scores (probabilities) and logits of every row of `split`; `logits` is `[N, C]`.
pub fn write(path: &Path, split: &Split, logits: &[f32], classes: usize) -> Result<()> {
    let list = || DataType::List(Arc::new(Field::new_list_field(DataType::Float32, true)));
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("label", DataType::UInt32, false),
        Field::new("predicted", DataType::UInt32, false),
        Field::new("scores", list(), false),
        Field::new("logits", list(), false),
    ]));
    let floats = || ListBuilder::new(Float32Builder::new());
    let (mut predicted, mut scores, mut raw) = (Vec::new(), floats(), floats());
    for row in logits.chunks(classes) {
        let wide: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
        predicted.push(argmax(&wide) as u32);
        let probabilities: Vec<f32> = log_softmax(&wide).iter().map(|l| l.exp() as f32).collect();
        scores.values().append_slice(&probabilities);
        scores.append(true);
        raw.values().append_slice(row);
        raw.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values((0..split.len()).map(|i| split.id(i)))),
        Arc::new(UInt32Array::from(split.labels().to_vec())),
        Arc::new(UInt32Array::from(predicted)),
        Arc::new(scores.finish()),
        Arc::new(raw.finish()),
    ];
    write_parquet(path, schema, columns)
}
