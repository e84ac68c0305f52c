//! Looks at a data file without a description: finds its format, and which columns are text and label.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use csv::{ByteRecord, ReaderBuilder};
use serde_json::Value;

use super::raw::{Cut, Decoder, Encoding};
use super::unpack::shown;
use crate::text::data::declare::spec::{Column, Delimiter, Format, Source};
use crate::text::data::read::encoding;
use crate::text::data::read::format;
use crate::text::data::read::sniff;
use crate::text::data::read::unpack;

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

/// What the two columns of pairs of texts are called.
const PAIRS: [(&str, &str); 12] = [
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("premise", "hypothesis"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("text_a", "text_b"),
    ("question1", "question2"),
    ("text", "text_pair"),
    ("question", "sentence"),
    ("question", "answer"),
    ("query", "passage"),
    ("claim", "evidence"),
];

/// A column with the values of the first rows.
struct Seen {
    name: String,
    values: Vec<String>,
}

/// A source for this file, with the columns that look like text and label.
pub fn look(path: &Path) -> Result<Source> {
    let mut source = Source::at(path);
    let format = format::by_name(&shown(path))?;
    // The columns of the others have types and names; the reader says which it finds.
    let Some(format @ (Format::Csv | Format::Tsv | Format::Jsonl)) = format.filter(|_| !path.is_dir()) else {
        return Ok(source);
    };
    let loaded = unpack::load(path, None)?;
    let (bytes, found) = encoding::decode(&loaded.bytes)?;
    let encoding = if found == Encoding::Windows1252 { found } else { Encoding::Utf8 };
    let decoder = Decoder { encoding, cut: Cut::Remove };
    let is_tsv = format == Format::Tsv;
    let columns = match format {
        Format::Jsonl => json_columns(&bytes, decoder),
        _ => {
            let usual = if is_tsv { b'\t' } else { b',' };
            let used = sniff::delimiter(&bytes, !is_tsv, usual);
            source.delimiter = (used != usual).then_some(Delimiter::Byte(used));
            delimited_columns(&bytes, decoder, used, !is_tsv)
        }
    };
    let mut columns = columns.with_context(|| format!("cannot use {}", path.display()))?;
    let has = |name: &str| columns.iter().any(|column| column.name == name);
    if format == Format::Csv && has("OriginalTweet") && has("Sentiment") {
        source.format = Some(Format::Covid19);
        return Ok(source);
    }
    let is_row = |column: &Seen| column.name.split_whitespace().count() > 4 || column.name.parse::<f64>().is_ok();
    source.header = !(format != Format::Jsonl && named(&columns, &TEXTS).is_none() && columns.iter().any(is_row));
    if !source.header {
        columns.iter_mut().for_each(|column| column.values.insert(0, column.name.clone()));
    }
    let pair = source.header.then(|| pair(&columns)).flatten();
    let (text, label) = text_and_label(&columns, pair.map(|(first, _)| first))
        .with_context(|| format!("cannot use {}", path.display()))?;
    let column = |at: usize| match source.header {
        true => Column::Name(columns[at].name.clone()),
        false => Column::Number(at + 1),
    };
    let (text, label) = (column(text), column(label));
    source.text_pair = pair.map(|(_, second)| column(second)).filter(|second| *second != label);
    source.text = Some(text).filter(|text| *text != source.text_column());
    source.label = Some(label).filter(|label| *label != source.label_column());
    Ok(source)
}

/// The first column that has one of these names.
fn named(columns: &[Seen], names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| columns.iter().position(|column| column.name.to_lowercase() == *name))
}

/// The columns of pairs of texts. All the words of their names have to match: a file with `sentence2` alone has single
/// texts.
fn pair(columns: &[Seen]) -> Option<(usize, usize)> {
    PAIRS.iter().find_map(|(first, second)| Some((named(columns, &[first])?, named(columns, &[second])?)))
}

fn delimited_columns(bytes: &[u8], decoder: Decoder, delimiter: u8, quoting: bool) -> Result<Vec<Seen>> {
    let mut reader =
        ReaderBuilder::new().delimiter(delimiter).quoting(quoting).has_headers(false).flexible(true).from_reader(bytes);
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record)? {
        bail!("the file is empty");
    }
    let value = |field: &[u8]| decoder.decode(field).0.trim().to_owned();
    let mut columns: Vec<Seen> = record.iter().map(|name| Seen { name: value(name), values: Vec::new() }).collect();
    for _ in 0..ROWS {
        if !reader.read_byte_record(&mut record)? {
            break;
        }
        columns.iter_mut().zip(&record).for_each(|(column, field)| column.values.push(value(field)));
    }
    Ok(columns)
}

fn json_columns(bytes: &[u8], decoder: Decoder) -> Result<Vec<Seen>> {
    let mut columns: Vec<Seen> = Vec::new();
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.trim_ascii()).filter(|line| !line.is_empty());
    for (at, line) in lines.take(ROWS).enumerate() {
        let object = match serde_json::from_str(&decoder.decode(line).0) {
            Ok(Value::Object(object)) => object,
            _ if at == 0 => bail!("the first line is not a JSON object"),
            _ => continue,
        };
        for (name, value) in &object {
            let at = columns.iter().position(|column| column.name == *name).unwrap_or_else(|| {
                columns.push(Seen { name: name.clone(), values: Vec::new() });
                columns.len() - 1
            });
            columns[at].values.extend(scalar(value));
        }
    }
    Ok(columns)
}

/// The text of a string, a number or a boolean.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The columns with the usual names; otherwise the one with the longest texts, and the one with the fewest values.
/// `first` is the column with the first text, if it is known.
fn text_and_label(columns: &[Seen], first: Option<usize>) -> Result<(usize, usize)> {
    let length = |at: &usize| {
        let values = &columns[*at].values;
        values.iter().map(String::len).sum::<usize>() / values.len().max(1)
    };
    let text = first.or_else(|| named(columns, &TEXTS)).or_else(|| (0..columns.len()).max_by_key(length));
    let distinct =
        |at: usize| columns[at].values.iter().filter(|value| !value.is_empty()).collect::<BTreeSet<_>>().len();
    // A column of which each value occurs a few times.
    let may_be_label = |at: &usize| {
        let (kinds, rows) = (distinct(*at), columns[*at].values.len());
        Some(*at) != text && kinds > 1 && kinds < rows && kinds * 4 <= rows.max(8)
    };
    let label = named(columns, &LABELS).filter(|at| Some(*at) != text);
    let label = label.or_else(|| (0..columns.len()).filter(may_be_label).min_by_key(|at| distinct(*at)));
    let listed = || columns.iter().map(|column| format!("`{}`", column.name)).collect::<Vec<_>>().join(", ");
    match (text, label) {
        (Some(text), Some(label)) => Ok((text, label)),
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
            (source.text_column().to_string(), source.label_column().to_string())
        };
        let own = |text: &str, label: &str| (text.to_owned(), label.to_owned());
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
    fn what_cannot_be_used_is_an_error() {
        let error = |name: &str, text: &str| format!("{:#}", seen(name, text).unwrap_err());
        assert!(error("a.xlsx", "x").contains("it is a spreadsheet: save it as CSV"));
        assert!(error("a.csv", "").ends_with("the file is empty"));
        assert!(
            error("a.csv", "a,b\none,1\ntwo,2\n").ends_with("no column looks like a label; its columns are `a`, `b`")
        );
        assert!(error("a.jsonl", "[]\n").ends_with("the first line is not a JSON object"));
    }
}
