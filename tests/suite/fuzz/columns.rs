//! Fuzzes parquet files, Arrow files and streams with columns of any type, as other programs write them.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use arrow_array::types::{Int16Type, Int32Type};
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int8Array, Int32Array, Int64Array, LargeStringArray,
    RecordBatch, StringArray, StringViewArray, StructArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use pipe_ml::text::data::declare::spec::{Source, Splitting};
use proptest::prelude::*;

use super::changes::{changed, changes, config};
use super::source::{read, rows};

#[derive(Debug, Clone)]
struct Row {
    text: Option<String>,
    label: Option<i64>,
    split: Option<&'static str>,
}

fn some_rows() -> impl Strategy<Value = Vec<Row>> {
    let text = prop::option::weighted(0.9, prop_oneof!["(?s).{0,12}", "[a-z]{1,3}", Just("x".repeat(3000))]);
    let split = prop::sample::select(vec![Some("train"), Some("test"), Some("dev"), Some("other"), None]);
    let row = (text, prop::option::weighted(0.9, -1i64..5), split);
    prop::collection::vec(row.prop_map(|(text, label, split)| Row { text, label, split }), 0..40)
}

/// How a table is laid out: which type each column has, and whether the text is in a struct.
#[derive(Debug, Clone, Copy)]
struct Shape {
    text: usize,
    label: usize,
    nested: bool,
    classes: bool,
    by_column: bool,
    batch: usize,
    container: usize,
    packing: usize,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let kinds = (0usize..5, 0usize..7, any::<bool>(), any::<bool>(), any::<bool>());
    (kinds, 1usize..20, 0usize..3, 0usize..5).prop_map(
        |((text, label, nested, classes, by_column), batch, container, packing)| Shape {
            text,
            label,
            nested,
            classes,
            by_column,
            batch,
            container,
            packing,
        },
    )
}

fn texts(rows: &[Row], kind: usize) -> ArrayRef {
    let all = || rows.iter().map(|row| row.text.as_deref());
    match kind {
        0 => Arc::new(all().collect::<StringArray>()),
        1 => Arc::new(all().collect::<LargeStringArray>()),
        2 => Arc::new(all().collect::<StringViewArray>()),
        3 => Arc::new(all().collect::<DictionaryArray<Int32Type>>()),
        // No text at all.
        _ => Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.label))),
    }
}

fn labels(rows: &[Row], kind: usize) -> ArrayRef {
    let all = || rows.iter().map(|row| row.label);
    let names = || all().map(|label| label.map(|label| format!("label {label}")));
    match kind {
        0 => Arc::new(all().collect::<Int64Array>()),
        1 => Arc::new(all().map(|label| label.map(|label| label as i8)).collect::<Int8Array>()),
        2 => Arc::new(names().collect::<StringArray>()),
        3 => Arc::new(all().map(|label| label.map(|label| label > 1)).collect::<BooleanArray>()),
        4 => Arc::new(all().map(|label| label.map(|label| label as f64 / 2.0)).collect::<Float64Array>()),
        5 => {
            let names: Vec<Option<String>> = names().collect();
            Arc::new(names.iter().map(Option::as_deref).collect::<DictionaryArray<Int16Type>>())
        }
        _ => texts(rows, 0),
    }
}

fn batch(rows: &[Row], shape: Shape) -> RecordBatch {
    let mut text = texts(rows, shape.text);
    let mut fields = vec![Field::new("text", text.data_type().clone(), true)];
    if shape.nested {
        let inner = Arc::new(fields.remove(0));
        fields.push(Field::new("data", DataType::Struct(vec![inner.clone()].into()), true));
        text = Arc::new(StructArray::from(vec![(inner, text)]));
    }
    let label = labels(rows, shape.label);
    fields.push(Field::new("label", label.data_type().clone(), true));
    fields.push(Field::new("split", DataType::Utf8, true));
    let split: ArrayRef = Arc::new(rows.iter().map(|row| row.split).collect::<StringArray>());
    let info = r#"{"info": {"features": {"label": {"names": ["a", "b", "c"], "_type": "ClassLabel"}}}}"#;
    let metadata = HashMap::from_iter(shape.classes.then(|| ("huggingface".to_owned(), info.to_owned())));
    RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, metadata)), vec![text, label, split]).unwrap()
}

/// The file that another program would write.
fn written(all: &[Row], shape: Shape) -> Vec<u8> {
    // An Arrow file has one dictionary for all batches, a stream may replace it.
    let size = if shape.container == 1 { all.len().max(1) } else { shape.batch };
    let batches: Vec<RecordBatch> = all.chunks(size).map(|rows| batch(rows, shape)).collect();
    let schema = batch(&[], shape).schema();
    let mut bytes = Vec::new();
    if shape.container == 0 {
        let packing = [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(GzipLevel::default()),
            Compression::ZSTD(ZstdLevel::default()),
            Compression::LZ4_RAW,
        ][shape.packing];
        let properties = WriterProperties::builder().set_compression(packing).build();
        let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties)).unwrap();
        for batch in &batches {
            writer.write(batch).unwrap();
            writer.flush().unwrap();
        }
        writer.close().unwrap();
        return bytes;
    }
    let packing = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD), None, None][shape.packing];
    let options = IpcWriteOptions::default().try_with_compression(packing).unwrap();
    if shape.container == 1 {
        let mut writer = FileWriter::try_new_with_options(&mut bytes, &schema, options).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap();
    } else {
        let mut writer = StreamWriter::try_new_with_options(&mut bytes, &schema, options).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap();
    }
    bytes
}

fn source(shape: Shape) -> Source {
    let mut source = Source::at(["x.parquet", "x.arrow", "x.arrow"][shape.container]);
    source.text = shape.nested.then(|| "data.text".into());
    if shape.by_column {
        source.split = Splitting::Column("split".into());
    }
    source
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn any_table_is_read_whole(all in some_rows(), shape in shapes()) {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, source) = (written(&all, shape), source(shape));
        fs::write(dir.path().join(&source.path), &bytes).unwrap();
        let table = read(dir.path(), &source, bytes.len());
        match shape.text {
            0..4 => prop_assert_eq!(rows(&table.unwrap()), all.len() as u64),
            // An empty table has no text of a wrong type.
            _ if all.is_empty() => {}
            _ => {
                let message = format!("{:#}", table.unwrap_err());
                prop_assert!(message.contains("has no texts but values of type Int64"), "{}", message);
            }
        }
    }

    #[test]
    fn a_table_changed(all in some_rows(), shape in shapes(), changes in prop::collection::vec(changes(), 1..8)) {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, source) = (written(&all, shape), source(shape));
        for changes in changes {
            let bytes = changed(&bytes, &changes);
            fs::write(dir.path().join(&source.path), &bytes).unwrap();
            let _ = read(dir.path(), &source, bytes.len());
        }
    }
}

#[test]
fn a_value_stored_once_and_used_very_often_does_not_fill_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let count = 200_000;
    let values = Arc::new(StringArray::from(vec!["y".repeat(1 << 14)]));
    let long: ArrayRef = Arc::new(DictionaryArray::new(Int32Array::from(vec![0; count]), values));
    let short: ArrayRef = Arc::new(StringArray::from(vec!["x"; count]));
    for (text, label) in [(&short, &long), (&long, &short)] {
        let fields = vec![
            Field::new("text", text.data_type().clone(), true),
            Field::new("label", label.data_type().clone(), true),
        ];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![text.clone(), label.clone()]).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        fs::write(dir.path().join("x.parquet"), &bytes).unwrap();
        let message = format!("{:#}", read(dir.path(), &Source::at("x.parquet"), bytes.len()).unwrap_err());
        assert!(message.ends_with("it unpacks to more than a file of its size can hold"), "{message}");
    }
}
