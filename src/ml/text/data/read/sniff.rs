//! Looks at the first lines of a delimited file: what divides them, and whether the first is a header.

use csv::{ByteRecord, ReaderBuilder, Terminator};

use super::table::short;
use crate::text::data::declare::spec::Column;

/// The delimiters to choose from, the usual ones first.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// Bytes and rows that are looked at.
const LOOKED_AT: usize = 1 << 16;
const ROWS: usize = 100;

/// What columns with texts and labels are called.
const TEXTS: [&str; 14] = [
    "text",
    "texts",
    "tweet",
    "tweets",
    "sentence",
    "review",
    "content",
    "message",
    "comment",
    "body",
    "title",
    "headline",
    "originaltweet",
    "premise",
];
const LABELS: [&str; 10] = [
    "label",
    "labels",
    "sentiment",
    "class",
    "category",
    "target",
    "polarity",
    "rating",
    "airline_sentiment",
    "emotion",
];

/// The delimiter that divides most of the first rows into the same number of fields, more than one.
pub(crate) fn delimiter(bytes: &[u8], quoting: bool, usual: u8) -> u8 {
    let start = &bytes[..bytes.len().min(LOOKED_AT)];
    let score = |delimiter: u8| {
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(quoting)
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(start);
        let (mut record, mut counts) = (ByteRecord::new(), Vec::new());
        while counts.len() < ROWS && reader.read_byte_record(&mut record).unwrap_or(false) {
            counts.push(record.len());
        }
        // The last row may be cut.
        if counts.len() > 1 && start.len() < bytes.len() {
            counts.pop();
        }
        let first = counts.first().copied().unwrap_or(0);
        let same = counts.iter().filter(|count| **count == first).count();
        if first < 2 { (0, 0) } else { (same * 1000 / counts.len(), first) }
    };
    let others = DELIMITERS.into_iter().filter(|delimiter| *delimiter != usual);
    let mut best = (usual, score(usual));
    for delimiter in others {
        let score = score(delimiter);
        if score > best.1 {
            best = (delimiter, score);
        }
    }
    best.0
}

/// What to add to the message that a header lacks a column: another delimiter, or that the line is not a header.
pub(crate) fn hint(names: &[String], used: u8, wanted: &Column) -> String {
    let whole = names.join(&char::from(used).to_string());
    let divides = |delimiter: &u8| {
        let parts: Vec<&str> = whole.split(char::from(*delimiter)).map(|part| part.trim().trim_matches('"')).collect();
        let has = |name: &Column| matches!(name, Column::Name(name) if parts.contains(&name.as_str()));
        parts.len() > 1 && (names.len() == 1 || has(wanted))
    };
    if let Some(delimiter) = DELIMITERS.into_iter().filter(|delimiter| *delimiter != used).find(divides) {
        let (what, set) = match delimiter {
            b'\t' => ("a tab seems".to_owned(), "format = \"tsv\"".to_owned()),
            b',' => ("a comma seems".to_owned(), "format = \"csv\"".to_owned()),
            other => (format!("`{}` seems", char::from(other)), format!("delimiter = \"{}\"", char::from(other))),
        };
        let columns = if names.len() == 1 { "the header has one column" } else { "the header may be divided wrongly" };
        return format!(": {columns}, and {what} to divide it: set {set}");
    }
    let is_text = |name: &String| name.split_whitespace().count() > 4 || name.parse::<f64>().is_ok();
    if names.iter().any(is_text) {
        return "; the first line looks like a row, not like a header: set `header = false`, and name the columns by \
                number, counted from 1"
            .to_owned();
    }
    String::new()
}

/// Whether the text and the label of a first row look like the names of columns.
pub(crate) fn is_header(text: &str, label: Option<&str>) -> bool {
    let is = |value: &str, names: &[&str]| names.contains(&value.trim().to_ascii_lowercase().as_str());
    is(text, &TEXTS) || label.is_some_and(|label| is(label, &LABELS))
}

/// The name of a delimiter in messages.
pub(crate) fn name(delimiter: u8) -> String {
    match delimiter {
        b'\t' => "tabs".to_owned(),
        b',' => "commas".to_owned(),
        other => format!("`{}`", short(&char::from(other).to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_divides_all_rows_alike() {
        let of = |text: &str| char::from(delimiter(text.as_bytes(), true, b','));
        assert_eq!(of("text;label\nfood, and more;good\npanic;bad\n"), ';');
        assert_eq!(of("text\tlabel\na, b\tgood\n"), '\t');
        assert_eq!(of("id|text|label\n1|a, b; c|good\n2|d|bad\n"), '|');
        assert_eq!(of("text,label\na;b,good\n"), ',');
        assert_eq!(of("text\n"), ',');
    }
}
