//! Fuzzes JSON arrays and JSON lines with fields in fields.

use std::fs;

use pipe_ml::text::data::declare::spec::{Source, Splitting};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::changes::{changed, changes, config};
use super::source::{read, rows};

/// Any value, few levels deep.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(?s).{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["train", "test", "0", "label", "\u{FEFF}", "\\u2019"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let key = prop_oneof![prop::sample::select(vec!["text", "label", "data", "split", "0", ""]), Just("data.text")];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Value>()),
        ]
    })
}

/// Mostly rows, and anything else between them.
fn some_rows() -> impl Strategy<Value = Vec<Value>> {
    let label = prop_oneof![Just(json!("a")), Just(json!(1)), Just(json!(true)), value()];
    let row = ("(?s).{0,10}", label, value()).prop_map(|(text, label, more)| {
        json!({"text": text, "label": label, "split": "train", "data": {"text": more, "list": [{"text": "x"}]}})
    });
    prop::collection::vec(prop_oneof![4 => row, 1 => value()], 0..30)
}

fn sources() -> impl Strategy<Value = Source> {
    let texts = prop::sample::select(vec!["text", "data.text", "data.list.0.text", "data", "none", ""]);
    let splits = prop::sample::select(vec!["split", "data.text", "none"]);
    (texts, prop::option::of(splits)).prop_map(|(text, split)| {
        let mut source = Source::at("x.json");
        source.text = Some(text.into());
        source.split = split.map_or(Splitting::Train, |split| Splitting::Column(split.into()));
        source
    })
}

/// An array over any number of lines.
fn array(rows: &[Value], blanks: &[&str]) -> String {
    let blank = |at: usize| blanks.get(at % blanks.len().max(1)).copied().unwrap_or("");
    let elements: Vec<String> =
        rows.iter().enumerate().map(|(at, row)| format!("{}{row}{}", blank(at), blank(at + 1))).collect();
    format!("{}[{}]{}", blank(2), elements.join(","), blank(1))
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn arrays(all in some_rows(), source in sources(), blanks in prop::collection::vec(prop::sample::select(vec!["", " ", "\n", "\r\n\t"]), 0..4), changes in prop::collection::vec(changes(), 0..4)) {
        let dir = tempfile::tempdir().unwrap();
        let good = array(&all, &blanks).into_bytes();
        for bytes in [good.clone()].into_iter().chain(changes.iter().map(|changes| changed(&good, changes))) {
            fs::write(dir.path().join("x.json"), &bytes).unwrap();
            let table = read(dir.path(), &source, bytes.len());
            // What is read is what serde_json reads of the whole file.
            if let (Ok(table), Ok(text)) = (&table, std::str::from_utf8(&bytes)) {
                let elements: Vec<Value> = serde_json::from_str(text.trim_start_matches('\u{FEFF}')).unwrap();
                prop_assert_eq!(rows(table), elements.len() as u64);
            }
        }
    }

    #[test]
    fn lines(all in some_rows(), source in sources(), changes in prop::collection::vec(changes(), 0..4)) {
        let dir = tempfile::tempdir().unwrap();
        let source = Source { path: "x.jsonl".into(), ..source };
        let good: Vec<u8> = all.iter().flat_map(|row| format!("{row}\n").into_bytes()).collect();
        for bytes in [good.clone()].into_iter().chain(changes.iter().map(|changes| changed(&good, changes))) {
            fs::write(dir.path().join("x.jsonl"), &bytes).unwrap();
            let table = read(dir.path(), &source, bytes.len());
            if let (Ok(table), Ok(text)) = (&table, std::str::from_utf8(&bytes))
                && table.files.iter().all(|file| file.encoding.is_none_or(|encoding| encoding.name() == "utf-8"))
            {
                let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
                let filled = text.split('\n').filter(|line| !line.trim_ascii().is_empty());
                prop_assert_eq!(rows(table), filled.count() as u64);
            }
        }
    }
}
