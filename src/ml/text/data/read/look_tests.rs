//! Tests of [`super::look`]: formats, columns, splits and labels beside texts.

use super::*;
use crate::text::data::declare::spec::Delimiter;

fn written(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

fn seen(name: &str, text: &str) -> Result<Source> {
    let dir = tempfile::tempdir().unwrap();
    look(&written(dir.path(), name, text)).map(|looked| looked.source)
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/data").join(name)
}

/// The columns with text and label.
fn columns(source: &Source) -> (String, String) {
    (source.text_column().to_string(), source.label_column().to_string())
}

fn own(text: &str, label: &str) -> (String, String) {
    (text.to_owned(), label.to_owned())
}

#[test]
fn columns_are_known_by_name_or_by_what_they_hold() {
    let columns = |name: &str, text: &str| columns(&seen(name, text).unwrap());
    assert_eq!(columns("a.csv", "label,text\nx,one\ny,two\n"), own("`text`", "`label`"));
    assert_eq!(columns("a.TSV", "id\ttweet\tSentiment\n1\ta\tx\n"), own("`tweet`", "`Sentiment`"));
    let rows: String = (0..40).map(|n| format!("{n},{},some words {n},2020\n", ["up", "down"][n % 2])).collect();
    assert_eq!(columns("a.csv", &format!("n,mood,words,year\n{rows}")), own("`words`", "`mood`"));
    let rows: String = (0..9).map(|n| format!("{{\"body\": \"text {n}\", \"class\": {}}}\n", n % 3)).collect();
    assert_eq!(columns("a.jsonl", &rows), own("`body`", "`class`"));
    let pairs = seen("a.tsv", "id\tPremise\thypothesis\tlabel\n1\ta\tb\tyes\n2\tc\td\tno\n").unwrap();
    assert_eq!((pairs.text, pairs.text_pair), (Some("Premise".into()), Some("hypothesis".into())));
    let single = seen("a.csv", "sentence,answer,label\na,b,yes\nc,d,no\n").unwrap();
    assert_eq!((single.text, single.text_pair), (Some("sentence".into()), None));
    let covid = seen("a.csv", "UserName,OriginalTweet,Sentiment\n1,a,Positive\n").unwrap();
    assert_eq!((covid.format, covid.text), (Some(Format::Covid19), None));
    let rows: String = (0..20).map(|n| format!("this is the text of row {n}\t{}\n", n % 2)).collect();
    let bare = seen("a.tsv", &rows).unwrap();
    assert_eq!((bare.header, bare.text, bare.label), (false, Some(Column::Number(1)), Some(Column::Number(2))));
    let rows: String = (0..9).map(|n| format!("text {n};{}\n", n % 3)).collect();
    let semicolons = seen("a.csv", &format!("text;label\n{rows}")).unwrap();
    assert_eq!(semicolons.delimiter, Some(Delimiter::Byte(b';')));
}

#[test]
fn fields_in_fields_and_arrays_of_json_are_columns() {
    let row = |n: usize| {
        format!("{{\"id\": {n}, \"data\": {{\"text\": \"words {n}\", \"gold\": {{\"label\": {}}}}}}}", n % 2)
    };
    let rows: Vec<String> = (0..9).map(row).collect();
    let array = seen("a.json", &format!("[\n{}\n]", rows.join(",\n"))).unwrap();
    assert_eq!(columns(&array), own("`data.text`", "`data.gold.label`"));
    assert_eq!(columns(&seen("a.jsonl", &rows.join("\n")).unwrap()), columns(&array));
}

#[test]
fn a_column_that_names_splits_is_the_split() {
    let rows: String = (0..9).map(|n| format!("text {n},{},{}\n", n % 3, ["train", "dev", "test"][n % 3])).collect();
    let source = seen("a.csv", &format!("text,label,split\n{rows}")).unwrap();
    assert_eq!(source.split, Splitting::Column("split".into()));
    // Other values, and other things that are called so.
    let source = seen("a.csv", &format!("text,label,set\n{}", rows.replace("dev", "third"))).unwrap();
    assert_eq!(source.split, Splitting::Train);
}

#[test]
fn data_sets_of_the_libraries_are_seen_through_their_types() {
    for (name, split) in [
        ("pandas.zstd.parquet", Splitting::Train),
        ("pandas.feather", Splitting::Train),
        ("repository", Splitting::AsNamed),
        ("saved", Splitting::AsNamed),
        ("repository/data/train-*.parquet", Splitting::AsNamed),
    ] {
        let source = look(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error:#}")).source;
        assert_eq!((columns(&source), &source.split), (own("`text`", "`label`"), &split), "{name}");
    }
}

#[test]
fn a_column_with_classes_is_the_label() {
    let dir = tempfile::tempdir().unwrap();
    let rows: String = (0..12).map(|n| format!("some words {n},{},{}\n", n % 2, n % 3)).collect();
    written(dir.path(), "train.csv", &format!("words,rating,mood\n{rows}"));
    let card = |config: &str| {
        format!(
            "- config_name: {config}\n  features:\n  - name: mood\n    dtype:\n      class_label:\n        names:\n          '0': a\n          '1': b\n          '2': c\n"
        )
    };
    written(dir.path(), "README.md", &format!("---\ndataset_info:\n{}---\n", card("default")));
    let source = look(dir.path()).unwrap().source;
    assert_eq!((columns(&source), source.split), (own("`words`", "`mood`"), Splitting::AsNamed));
}

#[test]
fn the_first_of_several_configurations_is_used_and_said() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["irony", "hate"] {
        written(dir.path(), &format!("{name}/train.csv"), "text,label\none,1\ntwo,0\n");
    }
    let config =
        |name: &str| format!("- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train.csv\n");
    written(dir.path(), "README.md", &format!("---\nconfigs:\n{}{}---\n", config("irony"), config("hate")));
    let Looked { source, notes } = look(dir.path()).unwrap();
    assert_eq!(source.config.as_deref(), Some("irony"));
    assert_eq!(
        notes,
        ["the data set has the configurations `irony`, `hate`; choose one with `config`; the first is used"]
    );
}

#[test]
fn texts_with_their_labels_beside_them_and_in_folders() {
    let dir = tempfile::tempdir().unwrap();
    let texts = written(dir.path(), "val_text.txt", "one\ntwo\n");
    let alone = format!("{:#}", look(&texts).unwrap_err());
    assert!(alone.ends_with("such a pair is called `train_text.txt` and `train_labels.txt`"), "{alone}");
    let labels = written(dir.path(), "val_labels.txt", "0\n1\n");
    let source = look(&texts).unwrap().source;
    assert_eq!((source.labels_file.as_ref(), source.mapping), (Some(&labels), None));
    let mapping = written(dir.path(), "mapping.txt", "0\ta\n1\tb\n");
    assert_eq!(look(&texts).unwrap().source.mapping, Some(mapping));
    let rows: String = (0..20).map(|n| format!("17{n}\t{}\tsome words {n}\n", ["up", "down"][n % 2])).collect();
    let table = seen("gold.txt", &rows).unwrap();
    assert_eq!((table.format, table.header), (Some(Format::Tsv), false));
    assert_eq!((table.text, table.label), (Some(Column::Number(3)), Some(Column::Number(2))));
    for name in ["train/pos/1.txt", "train/neg/1.txt", "test/pos/1.txt"] {
        written(&dir.path().join("reviews"), name, "good");
    }
    let folders = look(&dir.path().join("reviews")).unwrap().source;
    assert_eq!((folders.split, folders.text, folders.label), (Splitting::AsNamed, None, None));
}

#[test]
fn what_cannot_be_used_is_an_error() {
    let error = |name: &str, text: &str| format!("{:#}", seen(name, text).unwrap_err());
    assert!(error("a.xlsx", "x").contains("it is a spreadsheet: save it as CSV"));
    assert!(error("a.csv", "").ends_with("the file is empty"));
    assert!(error("a.csv", "a,b\none,1\ntwo,2\n").ends_with("no column looks like a label; its columns are `a`, `b`"));
    assert!(error("a.csv", "a,b\n1,1\n2,1\n").ends_with("no column looks like a text; its columns are `a`, `b`"));
    assert!(error("a.jsonl", "[]\n").ends_with("the first line is not a JSON object"));
    assert!(error("a.json", "{\"rows\": []}\n").ends_with("the file must be an array of objects"));
}
