//! Looks at a data file that nobody has described yet: its format, and which columns are text and label.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use csv::{ByteRecord, ReaderBuilder};
use serde_json::Value;

use super::raw::{Cut, Decoder};
use super::reader::{detect, load, shown};
use super::spec::{Format, Purpose, Source};
use super::table::scalar;

/// Rows that are looked at: enough to tell texts from labels.
const ROWS: usize = 2000;

/// What columns with texts and labels are usually called, the most telling first.
const TEXTS: [&str; 14] = [
    "text",
    "tweet",
    "sentence",
    "review",
    "review_text",
    "content",
    "message",
    "comment",
    "body",
    "clean_text",
    "document",
    "headline",
    "title",
    "texts",
];
const LABELS: [&str; 14] = [
    "label",
    "labels",
    "sentiment",
    "class",
    "category",
    "target",
    "polarity",
    "emotion",
    "intent",
    "airline_sentiment",
    "rating",
    "stars",
    "score",
    "label_text",
];

/// A column with the values of the first rows.
struct Column {
    name: String,
    values: Vec<String>,
}

/// A source for this file, with the columns that look like text and label.
pub fn look(path: &Path) -> Result<Source> {
    let bytes = load(path)?;
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let decoder = Decoder { encoding: detect(bytes), cut: Cut::Remove };
    let format = format_of(path)?;
    let columns = match format {
        Format::Jsonl => json_columns(bytes, decoder),
        _ => delimited_columns(bytes, decoder, format),
    };
    let columns = columns.with_context(|| format!("cannot use {}", path.display()))?;
    let has = |name: &str| columns.iter().any(|column| column.name == name);
    if format == Format::Csv && has("OriginalTweet") && has("Sentiment") {
        return Ok(Source::new(path, Format::Covid19, Purpose::Train));
    }
    let (text, label) = text_and_label(&columns).with_context(|| format!("cannot use {}", path.display()))?;
    let mut source = Source::new(path, format, Purpose::Train);
    source.text = (text != source.text_column()).then(|| text.to_owned());
    source.label = (label != source.label_column()).then(|| label.to_owned());
    Ok(source)
}

fn format_of(path: &Path) -> Result<Format> {
    let name = shown(path).to_lowercase();
    match name.strip_suffix(".gz").unwrap_or(&name).rsplit('.').next() {
        Some("csv") => Ok(Format::Csv),
        Some("tsv" | "tab") => Ok(Format::Tsv),
        Some("jsonl" | "ndjson") => Ok(Format::Jsonl),
        _ => bail!("cannot tell the format of {} by its name; it should end in .csv, .tsv or .jsonl", path.display()),
    }
}

fn delimited_columns(bytes: &[u8], decoder: Decoder, format: Format) -> Result<Vec<Column>> {
    let is_tsv = format == Format::Tsv;
    let mut reader = ReaderBuilder::new()
        .delimiter(if is_tsv { b'\t' } else { b',' })
        .quoting(!is_tsv)
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes);
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record)? {
        bail!("the file is empty");
    }
    let value = |field: &[u8]| decoder.decode(field).0.trim().to_owned();
    let mut columns: Vec<Column> = record.iter().map(|name| Column { name: value(name), values: Vec::new() }).collect();
    for _ in 0..ROWS {
        if !reader.read_byte_record(&mut record)? {
            break;
        }
        columns.iter_mut().zip(&record).for_each(|(column, field)| column.values.push(value(field)));
    }
    Ok(columns)
}

fn json_columns(bytes: &[u8], decoder: Decoder) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.trim_ascii()).filter(|line| !line.is_empty());
    for (at, line) in lines.take(ROWS).enumerate() {
        let object = match serde_json::from_str(&decoder.decode(line).0) {
            Ok(Value::Object(object)) => object,
            _ if at == 0 => bail!("the first line is not a JSON object"),
            _ => continue,
        };
        for (name, value) in &object {
            let at = columns.iter().position(|column| column.name == *name).unwrap_or_else(|| {
                columns.push(Column { name: name.clone(), values: Vec::new() });
                columns.len() - 1
            });
            columns[at].values.extend(scalar(value));
        }
    }
    Ok(columns)
}

/// The columns with the usual names; otherwise the one with the longest texts, and the one with the fewest values.
fn text_and_label(columns: &[Column]) -> Result<(&str, &str)> {
    let named = |names: &[&str]| {
        names.iter().find_map(|name| columns.iter().position(|column| column.name.to_lowercase() == *name))
    };
    let length = |at: &usize| {
        let values = &columns[*at].values;
        values.iter().map(String::len).sum::<usize>() / values.len().max(1)
    };
    let text = named(&TEXTS).or_else(|| (0..columns.len()).max_by_key(length));
    let distinct =
        |at: usize| columns[at].values.iter().filter(|value| !value.is_empty()).collect::<BTreeSet<_>>().len();
    // A column of which each value occurs a few times.
    let may_be_label = |at: &usize| {
        let (kinds, rows) = (distinct(*at), columns[*at].values.len());
        Some(*at) != text && kinds > 1 && kinds * 4 <= rows.max(8)
    };
    let label = named(&LABELS).filter(|at| Some(*at) != text);
    let label = label.or_else(|| (0..columns.len()).filter(may_be_label).min_by_key(|at| distinct(*at)));
    let listed = || columns.iter().map(|column| format!("`{}`", column.name)).collect::<Vec<_>>().join(", ");
    match (text, label) {
        (Some(text), Some(label)) => Ok((&columns[text].name, &columns[label].name)),
        _ => bail!("no column looks like a label; its columns are {}", listed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, text: &str) -> Result<Source> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        look(&path)
    }

    #[test]
    fn columns_are_known_by_name_or_by_what_they_hold() {
        let columns = |name: &str, text: &str| {
            let source = seen(name, text).unwrap();
            (source.format, source.text_column().to_owned(), source.label_column().to_owned())
        };
        let own = |format, text: &str, label: &str| (format, text.to_owned(), label.to_owned());
        assert_eq!(columns("a.csv", "label,text\nx,one\ny,two\n"), own(Format::Csv, "text", "label"));
        assert_eq!(columns("a.TSV", "id\ttweet\tSentiment\n1\ta\tx\n"), own(Format::Tsv, "tweet", "Sentiment"));
        let rows: String = (0..40).map(|n| format!("{n},{},some words {n},2020\n", ["up", "down"][n % 2])).collect();
        assert_eq!(columns("a.csv", &format!("n,mood,words,year\n{rows}")), own(Format::Csv, "words", "mood"));
        let rows: String = (0..9).map(|n| format!("{{\"body\": \"text {n}\", \"class\": {}}}\n", n % 3)).collect();
        assert_eq!(columns("a.jsonl", &rows), own(Format::Jsonl, "body", "class"));
        let covid = "UserName,OriginalTweet,Sentiment\n1,a,Positive\n";
        assert_eq!(columns("a.csv", covid), own(Format::Covid19, "OriginalTweet", "Sentiment"));
    }

    #[test]
    fn what_cannot_be_used_is_an_error() {
        let error = |name: &str, text: &str| format!("{:#}", seen(name, text).unwrap_err());
        assert!(error("a.xlsx", "x").ends_with("it should end in .csv, .tsv or .jsonl"));
        assert!(error("a.csv", "").ends_with("the file is empty"));
        assert!(
            error("a.csv", "a,b\none,1\ntwo,2\n").ends_with("no column looks like a label; its columns are `a`, `b`")
        );
        assert!(error("a.jsonl", "[]\n").ends_with("the first line is not a JSON object"));
    }
}
