//! Parses rows of delimited text and of JSON lines.

use anyhow::{Result, bail};
use csv::{ByteRecord, ReaderBuilder, Terminator};
use serde_json::Value;

use super::raw::{Decoder, LONGEST, Raw};
use super::report::Unusable;
use super::spec::{Format, Source};

/// The date column of the COVID-19 tweets; the only column read beyond text, label and id.
const DATE: &str = "TweetAt";

/// The maximum number of columns: more than any table of texts has, so a longer header is not a header.
const MOST_COLUMNS: usize = 10_000;

/// Number of letters of a name or label that a message shows.
const SHOWN: usize = 60;

/// Number of columns that a message lists; it only counts the rest.
const LISTED_COLUMNS: usize = 20;

type Rows = (Vec<Raw>, Vec<Unusable>);

/// Parse CSV and TSV with a header line.
///
/// Records end at LF or CR LF, never at a lone CR: the COVID-19 files have CR CR LF inside quotes and bare CRs before
/// closing quotes. So the parser ends a record only at LF, and this function removes the CR before it.
pub(crate) fn delimited(source: &Source, bytes: &[u8], file: &str, decoder: Decoder) -> Result<Rows> {
    let only_cr = !bytes.contains(&b'\n') && bytes.contains(&b'\r');
    let tsv = source.format == Format::Tsv;
    let mut reader = ReaderBuilder::new()
        .delimiter(if tsv { b'\t' } else { b',' })
        .quoting(!tsv)
        .has_headers(false)
        .flexible(true)
        .terminator(Terminator::Any(if only_cr { b'\r' } else { b'\n' }))
        .from_reader(bytes);
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record)? {
        bail!("the file is empty; its first line must name the columns");
    }
    if record.len() > MOST_COLUMNS {
        bail!("{file}:1 names {} columns, more than {MOST_COLUMNS}; check the `format` of the source", record.len());
    }
    let names: Vec<String> = fields(&record).iter().map(|name| decoder.decode(name).0.trim().to_owned()).collect();
    let text_at = column(&names, source.text_column(), "text")?;
    let label_at = column(&names, source.label_column(), "label")?;
    let id_at = source.id.as_deref().map(|id| column(&names, id, "id")).transpose()?;
    let date_at = names.iter().position(|name| source.format == Format::Covid19 && name == DATE);

    let (mut rows, mut unusable) = (Vec::new(), Vec::new());
    let mut number = 0;
    while reader.read_byte_record(&mut record)? {
        let fields = fields(&record);
        if fields.len() == 1 && fields[0].is_empty() {
            continue; // A blank line.
        }
        number += 1;
        let (start, line) = record.position().map_or((0, 0), |at| (at.byte() as usize, at.line()));
        let end = reader.position().byte() as usize;
        let span = bytes.get(start..end).unwrap_or_default();
        // The parser counts blank lines before a record as part of it.
        let blank = span.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        let (blank, span) = span.split_at(blank);
        let line = line + line_ends(blank) as u64;
        let lines = line_ends(span);
        let mut reject = |reason: &str, detail: String| {
            unusable.push(Unusable::new(format!("{file}:{line}"), reason).detail(detail));
        };
        if !tsv && end >= bytes.len() && lines > 1 && span.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
            reject("a quote opens here and never closes", format!("it swallowed the file's last {lines} lines"));
            continue;
        }
        if span.len() > LONGEST {
            reject(&format!("a row of more than {} MiB", LONGEST >> 20), "is a quote missing?".to_owned());
            continue;
        }
        if fields.len() != names.len() {
            let hint = if lines > 1 { format!("it spans {lines} lines: is a quote missing?") } else { String::new() };
            let noun = if fields.len() == 1 { "field" } else { "fields" };
            reject(&format!("{} {noun} where the header names {}", fields.len(), names.len()), hint);
            continue;
        }
        let get = |at: usize| decoder.decode(fields[at]);
        let (text, cut) = get(text_at);
        let label = get(label_at).0.trim().to_owned();
        let id = id_at.map(|at| get(at).0.trim().to_owned());
        let date = date_at.map(|at| get(at).0.trim().to_owned());
        if label.is_empty() {
            reject("no label", String::new());
        } else if id.as_deref() == Some("") {
            reject("no id", String::new());
        } else {
            rows.push(Raw { number, line, text, label, id, date, cut });
        }
    }
    Ok((rows, unusable))
}

fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// A record's fields; the last one is without the CR of the line end.
fn fields(record: &ByteRecord) -> Vec<&[u8]> {
    let mut fields: Vec<&[u8]> = record.iter().collect();
    if let Some(last) = fields.last_mut() {
        while let Some(shorter) = last.strip_suffix(b"\r") {
            *last = shorter;
        }
    }
    fields
}

/// The position of a column, or an error that lists the columns.
fn column(names: &[String], wanted: &str, role: &str) -> Result<usize> {
    match names.iter().position(|name| name == wanted) {
        Some(at) => Ok(at),
        None => bail!(missing(names, wanted, role)),
    }
}

fn missing(names: &[String], wanted: &str, role: &str) -> String {
    let mut listed =
        names.iter().take(LISTED_COLUMNS).map(|name| format!("`{}`", short(name))).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED_COLUMNS {
        listed = format!("{listed} and {} more", names.len() - LISTED_COLUMNS);
    }
    let hint = closest(wanted, names.iter().map(String::as_str))
        .map_or_else(String::new, |name| format!("; did you mean {role} = \"{}\"?", short(name)));
    format!("the file has no column `{wanted}` for the {role}; its columns are {listed}{hint}")
}

/// The beginning of a name. A name as long as a text would hide the message.
pub(crate) fn short(name: &str) -> String {
    match name.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    }
}

/// The name that a misspelt one probably means.
pub(crate) fn closest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wanted.to_lowercase();
    // A much longer name is not what the user meant, and comparing it takes long.
    names
        .filter(|name| name.len() <= wanted.len() + SHOWN)
        .map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|one, two| one.0.total_cmp(&two.0))
        .map(|(_, name)| name)
}

/// Parse one JSON object per line.
pub(crate) fn json_lines(source: &Source, bytes: &[u8], file: &str, decoder: Decoder) -> Result<Rows> {
    let (text_key, label_key) = (source.text_column(), source.label_column());
    let (mut rows, mut unusable) = (Vec::new(), Vec::new());
    let mut number = 0;
    // Keys of the first object, and which of the required keys occurred at all.
    let (mut keys, mut seen) = (None, [false; 3]);
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        number += 1;
        let (line, cut) = decoder.decode(line);
        let mut reject = |reason: &str, detail: String| {
            unusable.push(Unusable::new(format!("{file}:{}", at + 1), reason).detail(detail));
        };
        let object = match serde_json::from_str(&line) {
            Ok(Value::Object(object)) => object,
            Ok(_) => {
                reject("not a JSON object", String::new());
                continue;
            }
            Err(error) => {
                reject("not JSON", error.to_string());
                continue;
            }
        };
        let wanted = [Some(text_key), Some(label_key), source.id.as_deref()];
        for (seen, key) in seen.iter_mut().zip(wanted) {
            *seen |= key.is_none_or(|key| object.contains_key(key));
        }
        let text = object.get(text_key).and_then(Value::as_str).map(str::to_owned);
        let label = object.get(label_key).and_then(scalar);
        let id = source.id.as_deref().map(|id| object.get(id).and_then(scalar));
        keys.get_or_insert_with(|| object.keys().cloned().collect::<Vec<_>>());
        match (text, label, id) {
            (None, ..) => reject(&format!("no text under `{text_key}`"), String::new()),
            (_, None, _) => reject(&format!("no label under `{label_key}`"), String::new()),
            (.., Some(None)) => reject("no id", String::new()),
            (Some(text), Some(label), id) => {
                rows.push(Raw { number, line: at as u64 + 1, text, label, id: id.flatten(), date: None, cut });
            }
        }
    }
    if let Some(keys) = keys {
        let roles = [(text_key, "text"), (label_key, "label"), (source.id.as_deref().unwrap_or_default(), "id")];
        for (seen, (key, role)) in seen.into_iter().zip(roles) {
            if !seen {
                bail!(missing(&keys, key, role));
            }
        }
    }
    Ok((rows, unusable))
}

/// The text of a label or id given as string, number or boolean; `None` for null, blanks, lists and objects.
pub(super) fn scalar(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::data::raw::Cut;
    use crate::text::data::reader::{Table, parse};
    use crate::text::data::spec::Purpose;

    fn table(format: Format, bytes: &[u8]) -> Table {
        parse(&Source::new("x", format, Purpose::Train), bytes, "x.csv", Cut::Remove).unwrap()
    }

    fn error(format: Format, bytes: &[u8]) -> String {
        parse(&Source::new("x", format, Purpose::Train), bytes, "x.csv", Cut::Remove).unwrap_err().to_string()
    }

    #[test]
    fn carriage_returns_inside_quotes_do_not_end_a_record() {
        let bytes = b"UserName,ScreenName,Location,TweetAt,OriginalTweet,Sentiment\r\n\
            1,2,\"a\r\r\nb\",16-03-2020,\"one\r\r\ntwo \"\"x\"\"\r\",Positive\r\n3,4,,17-03-2020,three,Neutral\r\n";
        let table = table(Format::Covid19, bytes);
        assert!(table.unusable.is_empty());
        assert_eq!(table.rows[0].text, "one\r\r\ntwo \"x\"\r");
        assert_eq!(table.rows[0].label, "Positive");
        assert_eq!(table.rows[0].date.as_deref(), Some("16-03-2020"));
        assert_eq!((table.rows[1].number, table.rows[1].line), (2, 5));
        assert_eq!((table.rows[1].text.as_str(), table.rows[1].label.as_str()), ("three", "Neutral"));
    }

    #[test]
    fn a_quoted_last_column_loses_the_line_ends_carriage_return() {
        let table = table(Format::Csv, b"label,text\r\n\"a\",\"b, c\"\r\nd,e\r\n");
        assert_eq!(table.rows[0].text, "b, c");
        assert_eq!(table.rows[1].text, "e");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        assert_eq!(table(Format::Csv, b"\xEF\xBB\xBFtext,label\nhi,a\n").rows.len(), 1);
    }

    #[test]
    fn files_of_old_macs_have_rows_too() {
        assert_eq!(table(Format::Csv, b"text,label\rhi,a\rho,b\r").rows.len(), 2);
    }

    #[test]
    fn quotes_mean_nothing_in_tsv() {
        let table = table(Format::Tsv, b"text\tlabel\n\"hi\t1\nho\" \"\t0\n");
        assert_eq!(table.rows[0].text, "\"hi");
        assert_eq!(table.rows[1].text, "ho\" \"");
    }

    #[test]
    fn rows_that_cannot_be_used_are_listed_with_their_line() {
        let table = table(Format::Csv, b"text,label\na,x\nb\nc,\nd,x,y\n\n\"e\nf,x\n");
        assert_eq!(table.rows.len(), 1);
        let found: Vec<(&str, &str)> =
            table.unusable.iter().map(|row| (row.place.as_str(), row.reason.as_str())).collect();
        assert_eq!(
            found,
            [
                ("x.csv:3", "1 field where the header names 2"),
                ("x.csv:4", "no label"),
                ("x.csv:5", "3 fields where the header names 2"),
                ("x.csv:7", "a quote opens here and never closes; it swallowed the file's last 2 lines"),
            ]
        );
    }

    #[test]
    fn a_missing_column_names_those_there_are() {
        assert_eq!(
            error(Format::Covid19, b"UserName,originaltweet,Sentiment\n"),
            "the file has no column `OriginalTweet` for the text; its columns are `UserName`, `originaltweet`, `Sentiment`; \
             did you mean text = \"originaltweet\"?"
        );
        assert_eq!(
            error(Format::Csv, b"text,class\n"),
            "the file has no column `label` for the label; its columns are `text`, `class`"
        );
        assert_eq!(error(Format::Csv, b""), "the file is empty; its first line must name the columns");
    }

    #[test]
    fn json_lines_take_numbers_as_labels_and_report_the_rest() {
        let table = table(
            Format::Jsonl,
            b"{\"text\": \"don\xE2\x80\x99t\", \"label\": 1}\r\n\n[1]\n{\"text\": 3, \"label\": 1}\n{\"text\": \"x\", \"label\": null}\nno\n",
        );
        assert_eq!((table.rows[0].text.as_str(), table.rows[0].label.as_str()), ("don’t", "1"));
        let places: Vec<&str> = table.unusable.iter().map(|row| row.place.as_str()).collect();
        assert_eq!(places, ["x.csv:3", "x.csv:4", "x.csv:5", "x.csv:6"]);
        assert_eq!(
            error(Format::Jsonl, b"{\"txt\": \"x\", \"label\": 1}\n"),
            "the file has no column `text` for the text; its columns are `label`, `txt`; did you mean text = \"txt\"?"
        );
    }
}
