//! Tests of [`super::read`]: parquet, Arrow, folders, patterns and data sets.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field, Schema};

use super::tests::{labels, open, project, texts, why};
use super::*;
use crate::text::data::corpus::write_parquet;
use crate::text::data::declare::spec::Splitting;

/// A batch with a text, a nested text and a label whose classes the schema names.
fn batch() -> (Arc<Schema>, Vec<ArrayRef>) {
    let info = r#"{"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}"#;
    let inner = Field::new("body", DataType::Utf8, true);
    let fields = vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("label", DataType::Int64, true),
        Field::new("data", DataType::Struct(vec![inner.clone()].into()), true),
    ];
    let schema = Schema::new_with_metadata(
        fields,
        std::collections::HashMap::from([("huggingface".to_owned(), info.to_owned())]),
    );
    let nested: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "z"]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some("one"), None, Some("three")])),
        Arc::new(Int64Array::from(vec![Some(1), Some(0), Some(-1)])),
        Arc::new(StructArray::from(vec![(Arc::new(inner), nested)])),
    ];
    (Arc::new(schema), columns)
}

pub(super) fn arrow_file(stream: bool) -> Vec<u8> {
    let (schema, columns) = batch();
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let mut bytes = Vec::new();
    if stream {
        let mut writer = arrow_ipc::writer::StreamWriter::try_new(&mut bytes, &schema).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    } else {
        let mut writer = arrow_ipc::writer::FileWriter::try_new(&mut bytes, &schema).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    }
    bytes
}

#[test]
fn parquet_and_arrow_have_class_names_and_rows_without_labels() {
    let dir = project(&[
        ("a.arrow", &arrow_file(false)),
        ("stream.arrow", &arrow_file(true)),
        ("odd.csv", &arrow_file(false)),
    ]);
    let (schema, columns) = batch();
    write_parquet(&dir.path().join("a.parquet"), schema, columns).unwrap();
    for name in ["a.parquet", "a.arrow", "stream.arrow", "odd.csv"] {
        let source = Source::at(name);
        let read = if name == "odd.csv" {
            why(open(&dir, &Source::new(name, Format::Csv, Purpose::Train)))
        } else {
            String::new()
        };
        assert!(name != "odd.csv" || read == "odd.csv is an Arrow file; set format = \"arrow\"", "{read}");
        let table = open(&dir, &source).unwrap();
        assert_eq!((texts(&table), labels(&table)), (vec!["one"], vec!["pos"]), "{name}");
        assert_eq!(table.labels.clone().unwrap(), ["neg", "pos"]);
        let reasons: Vec<&str> = table.unusable.iter().map(|row| row.reason.as_str()).collect();
        assert_eq!(reasons, ["no text", "the label is -1, which means that the row has none"]);
        let nested = open(&dir, &Source { text: Some("data.body".into()), ..source }).unwrap();
        assert_eq!(texts(&nested), ["x", "y"]);
        let wrong =
            why(open(&dir, &Source { text: Some("label".into()), label: Some("text".into()), ..Source::at(name) }));
        assert_eq!(wrong, "its column `label` has no texts but values of type Int64");
    }
}

#[test]
fn parquet_of_other_libraries_may_be_packed_with_any_codec() {
    use parquet::basic::{Compression, GzipLevel, ZstdLevel};
    let (schema, columns) = batch();
    let dir = project(&[]);
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4_RAW,
    ];
    for codec in codecs {
        let properties = parquet::file::properties::WriterProperties::builder().set_compression(codec).build();
        let file = std::fs::File::create(dir.path().join("a.parquet")).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, schema.clone(), Some(properties)).unwrap();
        writer.write(&RecordBatch::try_new(schema.clone(), columns.clone()).unwrap()).unwrap();
        writer.close().unwrap();
        assert_eq!(texts(&open(&dir, &Source::at("a.parquet")).unwrap()), ["one"], "{codec:?}");
    }
}

#[test]
fn a_saved_data_set_has_its_splits() {
    let state = br#"{"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"}"#;
    let (rows, info) =
        (arrow_file(true), br#"{"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}"#);
    let dir = project(&[
        ("set/dataset_dict.json", br#"{"splits": ["train", "test"]}"#),
        ("set/train/data-00000-of-00001.arrow", &rows),
        ("set/train/state.json", state),
        ("set/train/dataset_info.json", info),
        ("set/test/data-00000-of-00001.arrow", &rows),
        ("set/test/state.json", state),
    ]);
    let table = open(&dir, &Source::at("set")).unwrap();
    assert_eq!(table.rows.iter().map(Raw::place).collect::<Vec<_>>(), ["train/data-00000-of-00001.arrow:1"]);
    assert_eq!(table.notes, ["its splits `test` are not read by this source"]);
    let all = open(&dir, &Source { split: Splitting::AsNamed, ..Source::at("set") }).unwrap();
    assert_eq!(all.rows.iter().map(|row| row.purpose).collect::<Vec<_>>(), [Purpose::Train, Purpose::Test]);
    let one = Source { split: Splitting::Test, ..Source::at("set/train") };
    assert_eq!(open(&dir, &one).unwrap().rows[0].purpose, Purpose::Test, "one set is for what the source says");
    let none = Source { split: Splitting::Validation, ..Source::at("set") };
    assert_eq!(why(open(&dir, &none)), "set has no split for validation; its splits are `train`, `test`");
}

#[test]
fn a_repository_has_the_files_that_its_readme_or_their_names_say() {
    let rows = b"text,label\nhi,0\nho,1\n".as_slice();
    let readme = b"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: part-*.csv\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': neg\n          '1': pos\n---\n".as_slice();
    let dir = project(&[
        ("set/README.md", readme),
        ("set/part-0.csv", rows),
        ("set/part-1.csv", rows),
        ("set/old.csv", rows),
    ]);
    let table = open(&dir, &Source::at("set")).unwrap();
    assert_eq!((table.files.len(), labels(&table)), (2, vec!["neg", "pos", "neg", "pos"]));
    assert_eq!(table.rows.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let dir = project(&[("set/data/train-0.csv", rows), ("set/data/dev-0.csv", rows), ("set/README.md", b"# Nothing")]);
    let source = Source { split: Splitting::AsNamed, format: Some(Format::Dataset), ..Source::at("set") };
    let purposes: Vec<Purpose> = open(&dir, &source).unwrap().rows.iter().map(|row| row.purpose).collect();
    assert_eq!(purposes, [Purpose::Validation, Purpose::Validation, Purpose::Train, Purpose::Train]);
}

#[test]
fn a_text_a_file_has_the_label_of_its_folder() {
    let dir = project(&[
        ("aclImdb/README", b"x"),
        ("aclImdb/train/neg/0_1.txt", b"bad\n"),
        ("aclImdb/train/pos/0_9.txt", b"good"),
        ("aclImdb/train/unsup/0_0.txt", b"?"),
        ("aclImdb/train/urls_pos.txt", b"http://x"),
        ("aclImdb/test/pos/1_7.txt", b"fine"),
    ]);
    let table = open(&dir, &Source::at("aclImdb")).unwrap();
    assert_eq!((texts(&table), labels(&table)), (vec!["bad\n", "good"], vec!["neg", "pos"]));
    assert_eq!(
        table.notes,
        [
            "left out 1 texts in folders called `unsup`: they have no label",
            "left out 2 files that are not .txt files in the folder of a label",
            "its splits `test` are not read by this source"
        ]
    );
    let test = Source { format: Some(Format::Folders), split: Splitting::Test, ..Source::at("aclImdb/test") };
    assert_eq!(labels(&open(&dir, &test).unwrap()), ["pos"]);
    let pattern = Source::new("aclImdb/train/{neg,pos}/*.txt", Format::Folders, Purpose::Test);
    let table = open(&dir, &pattern).unwrap();
    assert_eq!((labels(&table), table.rows[0].purpose), (vec!["neg", "pos"], Purpose::Test));
}

#[test]
fn a_pattern_stands_for_the_files_that_it_matches() {
    let rows = b"text,label\nhi,a\n".as_slice();
    let dir = project(&[("data/b.csv", rows), ("data/a.csv", rows), ("data/x/c.csv", rows), ("data/.d.csv", rows)]);
    let places =
        |path: &str| -> Vec<String> { open(&dir, &Source::at(path)).unwrap().rows.iter().map(Raw::place).collect() };
    assert_eq!(places("data/*.csv"), ["a.csv:2", "b.csv:2"]);
    assert_eq!(places("data/**/*.csv"), ["a.csv:2", "b.csv:2", "x/c.csv:2"]);
    assert_eq!(why(open(&dir, &Source::at("data/*.tsv"))), "no file matches `data/*.tsv`");
}

#[test]
fn a_corpus_is_a_source() {
    use crate::text::data::{Corpus, Example, Report};
    let row = |text: &str, label| Example {
        id: text.into(),
        text: text.into(),
        pair: None,
        label,
        source: "s".into(),
        day: None,
        made: None,
    };
    let corpus = Corpus {
        cleaning: None,
        labels: vec!["no".into(), "yes".into()],
        train: vec![row("a", 1), row("b", 0)],
        validation: vec![row("c", 0)],
        test: Vec::new(),
        report: Report::default(),
    };
    let dir = project(&[]);
    corpus.write(&dir.path().join("corpus")).unwrap();
    let source = Source { split: Splitting::AsNamed, id: Some("id".into()), ..Source::at("corpus") };
    let table = open(&dir, &source).unwrap();
    assert_eq!(
        (labels(&table), table.labels.clone().unwrap()),
        (vec!["yes", "no", "no"], vec!["no".into(), "yes".into()])
    );
    assert_eq!(table.rows[2].purpose, Purpose::Validation);
    assert_eq!(table.rows[0].id.as_deref(), Some("a"));
}

/// Files that `datasets` and pandas wrote (`scripts/make_data_fixtures.py`).
#[test]
fn files_of_other_libraries_are_read_as_they_are() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/data");
    let open = |source: Source| read(&source, &|path| fixtures.join(path), Cut::Remove).unwrap();
    for path in ["saved", "repository"] {
        let table = open(Source { split: Splitting::AsNamed, ..Source::at(path) });
        let mut rows: Vec<_> =
            table.rows.iter().map(|row| (row.purpose.name(), row.text.as_str(), row.label.as_str())).collect();
        rows.sort();
        let expected =
            [("test", "fine", "positive"), ("train", "bad day – ‘no’", "negative"), ("train", "good day", "positive")];
        assert_eq!(rows, expected, "{path}");
        assert_eq!(table.labels.unwrap(), ["negative", "positive"]);
        assert_eq!(table.unusable[0].reason, "the label is -1, which means that the row has none");
    }
    for path in ["pandas.feather", "pandas.zstd.parquet"] {
        let table = open(Source::at(path));
        assert_eq!((texts(&table), labels(&table)), (vec!["good day", "bad day"], vec!["p", "n"]), "{path}");
    }
}
