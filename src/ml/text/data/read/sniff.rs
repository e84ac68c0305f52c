//! Looks at the first lines of a delimited file: what divides them, and whether the first is a header.

use csv::{ByteRecord, ReaderBuilder, Terminator};

use super::listed::short;
use super::missing::Hint;
use super::usual;
use crate::text::data::declare::spec::Column;

/// The delimiters to choose from, the usual ones first.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// Bytes and rows that are looked at.
const LOOKED_AT: usize = 1 << 16;
const ROWS: usize = 100;
/// The score of a delimiter that divides all rows alike.
const EVEN: usize = 1000;

/// The delimiter that divides most of the first rows into the same number of fields, more than one.
pub(crate) fn delimiter(bytes: &[u8], quoting: bool, usual: u8) -> u8 {
    let score = |delimiter: u8| evenly(bytes, quoting, delimiter);
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

/// Whether tabs divide all the first rows of a file without quotes into the same number of fields.
pub(crate) fn has_tabs(bytes: &[u8]) -> bool {
    evenly(bytes, false, b'\t').0 == EVEN
}

/// How evenly a delimiter divides the first rows: how many of [`EVEN`] rows have the number of fields of the first, and that
/// number.
fn evenly(bytes: &[u8], quoting: bool, delimiter: u8) -> (usize, usize) {
    let start = &bytes[..bytes.len().min(LOOKED_AT)];
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
    if first < 2 { (0, 0) } else { (same * EVEN / counts.len(), first) }
}

/// What a header that lacks a column probably is: divided by another delimiter, or a row.
pub(crate) fn hint(names: &[String], used: u8, wanted: &Column) -> Option<Hint> {
    let whole = names.join(&char::from(used).to_string());
    let divides = |delimiter: &u8| {
        let parts: Vec<&str> = whole.split(char::from(*delimiter)).map(|part| part.trim().trim_matches('"')).collect();
        let has = |name: &Column| matches!(name, Column::Name(name) if parts.contains(&name.as_str()));
        parts.len() > 1 && (names.len() == 1 || has(wanted))
    };
    let other = DELIMITERS.into_iter().filter(|delimiter| *delimiter != used).find(divides);
    other.map(Hint::Delimiter).or_else(|| names.iter().any(|name| is_text(name)).then_some(Hint::Row))
}

/// Whether the name of a column is a text or a number, so that it is in a row rather than in a header.
pub(crate) fn is_text(name: &str) -> bool {
    name.split_whitespace().count() > 4 || name.parse::<f64>().is_ok()
}

/// Whether the text and the label of a first row look like the names of columns.
pub(crate) fn is_header(text: &str, label: Option<&str>) -> bool {
    usual::is_among(text, &usual::TEXTS) || label.is_some_and(|label| usual::is_among(label, &usual::LABELS))
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
