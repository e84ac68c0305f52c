//! Parses rows of delimited text: CSV and TSV, with and without a header.

use std::collections::HashSet;

use anyhow::{Result, bail};
use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use super::error::ReadError;
use super::listed::short;
use super::missing::MissingColumn;
use super::quotes::{Quotes, quotes};
use super::raw::LONGEST;
use super::sniff;
use super::table::{Part, Roles, Sink, Values, position};
use crate::text::data::declare::spec::{Column, Delimiter, Format};

/// The maximum number of columns: more than any table of texts has, so a longer header is not a header.
const MOST_COLUMNS: usize = 10_000;
/// Fields of several lines whose lines are compared with rows.
const MOST_SUSPECTS: usize = 10_000;

/// A field of several lines, of which some have as many parts as a row.
struct Suspect {
    line: u64,
    labels: Vec<String>,
}

/// Parse CSV or TSV; returns the delimiter.
///
/// Records end at LF or CR LF, never at a lone CR: the COVID-19 files have CR CR LF inside quotes and bare CRs before
/// closing quotes. So the parser ends a record only at LF, and this function removes the CR before it.
pub(crate) fn delimited(part: &Part, format: Format, bytes: &[u8], sink: &mut Sink) -> Result<u8> {
    let source = part.source;
    let quoting = format != Format::Tsv;
    let usual = if format == Format::Tsv { b'\t' } else { b',' };
    let delimiter = match source.delimiter {
        None => usual,
        Some(Delimiter::Byte(byte)) => byte,
        Some(Delimiter::Auto) => sniff::delimiter(bytes, quoting, usual),
    };
    let only_cr = !bytes.contains(&b'\n') && bytes.contains(&b'\r');
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(quoting)
        .has_headers(false)
        .flexible(true)
        .terminator(Terminator::Any(if only_cr { b'\r' } else { b'\n' }))
        .from_reader(bytes);
    let mut record = ByteRecord::new();
    let first = loop {
        if !reader.read_byte_record(&mut record)? {
            match source.header {
                true => bail!("the file is empty; its first line must name the columns"),
                false => bail!("the file is empty"),
            }
        }
        if !is_blank(&fields(&record)) {
            break fields(&record);
        }
    };
    if first.len() > MOST_COLUMNS {
        let what = if source.header { "names" } else { "has" };
        let name = &part.name;
        bail!("{name}:1 {what} {} columns, more than {MOST_COLUMNS}; check the `format` of the source", first.len());
    }
    let line: Vec<String> = first.iter().map(|name| part.decoder.decode(name).0.trim().to_owned()).collect();
    let (filled_first, physical) = (filled(&first), first.len());
    let roles = Roles::find(part, |column, role| match (source.header, column) {
        (true, _) => position(&line, column, role).map_err(|missing| {
            let hint = sniff::hint(&line, delimiter, column);
            ReadError::from(MissingColumn { hint, ..missing }).into()
        }),
        // A column beyond those of the first row may be filled in others.
        (false, Column::Number(_)) => position(&line, column, role).map_err(|missing| ReadError::from(missing).into()),
        (false, Column::Name(name)) => Err(ReadError::NoHeader { name: name.clone(), role }.into()),
    })?;
    if source.header {
        warn_of_twins(part, &line, &roles, sink);
    }
    // The first row may have no label: the columns that are wanted count nevertheless.
    let width = if source.header { line.len() } else { filled_first.max(roles.highest() + 1) };
    let header = source.header.then_some(line.as_slice());
    let mut table =
        Table { part, roles, width, physical, quoting, delimiter, sink, header, suspects: Vec::new(), repaired: None };
    if !source.header {
        table.row(bytes, &record, &reader);
    }
    while reader.read_byte_record(&mut record)? {
        table.row(bytes, &record, &reader);
    }
    table.finish(&line)?;
    Ok(delimiter)
}

/// The file while its rows are read.
struct Table<'a> {
    part: &'a Part<'a>,
    roles: Roles<usize>,
    width: usize,
    /// The fields of the first line, empty ones at its end included: others may fill them.
    physical: usize,
    quoting: bool,
    delimiter: u8,
    sink: &'a mut Sink,
    header: Option<&'a [String]>,
    suspects: Vec<Suspect>,
    /// The first line with text after a closing quote, and how many there are.
    repaired: Option<(u64, u64)>,
}

impl Table<'_> {
    fn row(&mut self, bytes: &[u8], record: &ByteRecord, reader: &Reader<&[u8]>) {
        let fields = fields(record);
        if is_blank(&fields) {
            return;
        }
        let part = self.part;
        let (start, line) = record.position().map_or((0, 0), |at| (at.byte() as usize, at.line()));
        let end = reader.position().byte() as usize;
        let span = bytes.get(start..end).unwrap_or_default();
        // The parser counts blank lines before a record as part of it.
        let blank = span.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        let (blank, span) = span.split_at(blank);
        let line = line + line_ends(blank) as u64;
        let lines = line_ends(span);
        let state = if self.quoting { quotes(span, self.delimiter) } else { Quotes::Fine };
        match state {
            Quotes::Open if end >= bytes.len() => {
                let detail = match lines {
                    0 | 1 => String::new(),
                    _ => format!("it swallowed the file's last {lines} lines"),
                };
                return self.reject(line, "a quote opens here and never closes", detail, lines.max(1) as u64);
            }
            Quotes::TextAfter(offset) if lines > 1 => {
                let last = line + line_ends(&span[..offset]) as u64;
                if last > line {
                    let detail = format!(
                        "it took {} lines, to {}:{last}, where text follows the closing quote",
                        last - line + 1,
                        part.name
                    );
                    return self.reject(line, "a quote opens here and is not closed on its line", detail, lines as u64);
                }
                self.repair(line);
            }
            Quotes::TextAfter(_) => self.repair(line),
            Quotes::Open | Quotes::Fine => {}
        }
        if span.len() > LONGEST {
            let detail = "is a quote missing?".to_owned();
            return self.reject(line, &format!("a row of more than {} MiB", LONGEST >> 20), detail, 1);
        }
        // An empty field at the end is a delimiter too many.
        let count = match fields.len() {
            count if count > self.width && count == self.physical => self.width,
            count if count > self.width => filled(&fields).max(self.width),
            count => count,
        };
        if count != self.width {
            let hint = if lines > 1 { format!("it spans {lines} lines: is a quote missing?") } else { String::new() };
            let noun = if count == 1 { "field" } else { "fields" };
            let whose = if part.source.header { "the header names" } else { "the first row has" };
            return self.reject(line, &format!("{count} {noun} where {whose} {}", self.width), hint, 1);
        }
        if lines > 1 {
            self.suspect(line, span);
        }
        let get = |at: usize| part.decoder.decode(fields.get(at).copied().unwrap_or_default());
        let trimmed = |at: usize| get(at).0.trim().to_owned();
        let (text, cut) = get(self.roles.text);
        let (pair, cut_in_pair) = self.roles.pair.map(get).unzip();
        if let Some(header) = self.header.filter(|header| text.trim() == header[self.roles.text] && self.width > 1)
            && (0..self.width).all(|at| trimmed(at) == header[at])
        {
            return self.reject(line, "the header again", String::new(), 1);
        }
        let values = Values {
            text: Some(text),
            pair,
            label: self.roles.label.map(trimmed),
            id: self.roles.id.map(trimmed),
            date: self.roles.date.map(trimmed),
            split: self.roles.split.map(trimmed),
            others: self.roles.others.iter().map(|at| trimmed(*at)).collect(),
            cut: cut + cut_in_pair.unwrap_or(0),
        };
        self.sink.take(part, &self.roles, line, values);
    }

    fn reject(&mut self, line: u64, reason: &str, detail: String, rows: u64) {
        self.sink.reject(self.part, line, reason, detail, rows);
    }

    fn repair(&mut self, line: u64) {
        self.repaired.get_or_insert((line, 0)).1 += 1;
    }

    /// Remember a field of several lines if a line of it has as many parts as a row.
    fn suspect(&mut self, line: u64, span: &[u8]) {
        let Some(label) = self.roles.label.filter(|_| self.width > 1 && self.suspects.len() < MOST_SUSPECTS) else {
            return;
        };
        let mut inner: Vec<&[u8]> = span.trim_ascii_end().split(|byte| *byte == b'\n').skip(1).collect();
        inner.pop();
        let parts = |inner: &&[u8]| {
            let parts: Vec<&[u8]> = inner.split(|byte| *byte == self.delimiter).collect();
            (parts.len() == self.width).then(|| self.part.decoder.decode(parts[label].trim_ascii()).0)
        };
        let labels: Vec<String> = inner.iter().filter_map(parts).collect();
        if !labels.is_empty() {
            self.suspects.push(Suspect { line, labels });
        }
    }

    /// Say what looks wrong in the whole file. `first` is the first line.
    fn finish(self, first: &[String]) -> Result<()> {
        let Table { part, roles, sink, suspects, repaired, .. } = self;
        let name = &part.name;
        let rows = sink.rows.iter().filter(|row| row.file == *name);
        let labels: HashSet<&str> = rows.map(|row| row.label.as_str()).collect();
        if let Some(at) = roles.label.filter(|_| part.source.header) {
            let label = &first[at];
            if !label.is_empty() && labels.contains(label.as_str()) {
                bail!(
                    "{name}:1 looks like a row, not like a header: its label is `{}`; set `header = false`, and name the \
                     columns by number, counted from 1",
                    short(label)
                );
            }
        }
        if !part.source.header {
            let text = first.get(roles.text).map_or("", String::as_str);
            let label = roles.label.and_then(|at| first.get(at));
            let others =
                |label: &String| sink.rows.iter().filter(|row| row.file == *name && row.label == *label).count();
            if sniff::is_header(text, label.map(String::as_str)) && label.is_none_or(|label| others(label) <= 1) {
                bail!("{name}:1 looks like a header (`{}`), but `header = false` says that there is none", short(text));
            }
        }
        let swallowed: Vec<(u64, usize)> = suspects
            .iter()
            .map(|suspect| {
                (suspect.line, suspect.labels.iter().filter(|label| labels.contains(label.as_str())).count())
            })
            .filter(|(_, lines)| *lines > 0)
            .collect();
        if let Some((line, lines)) = swallowed.first() {
            let more = if swallowed.len() > 1 {
                format!("; so it is with {} more", swallowed.len() - 1)
            } else {
                String::new()
            };
            let noun = if *lines == 1 {
                "1 line that looks like a row".to_owned()
            } else {
                format!("{lines} lines that look like rows")
            };
            sink.warnings
                .push(format!("{name}:{line}: the quote that opens here took {noun}: is a quote missing?{more}"));
        }
        if let Some((line, count)) = repaired {
            let rows = if count == 1 { "1 row".to_owned() } else { format!("{count} rows, the first here") };
            sink.warnings.push(format!(
                "{name}:{line}: text follows a closing quote in {rows}; the quotes were taken away, as other readers do: \
                 quotes inside a field are written twice, or the file is TSV"
            ));
        }
        Ok(())
    }
}

/// A name that the header has twice is probably not the column that was meant.
fn warn_of_twins(part: &Part, names: &[String], roles: &Roles<usize>, sink: &mut Sink) {
    for at in [Some(roles.text), roles.label].into_iter().flatten() {
        let twins = names.iter().filter(|name| **name == names[at]).count();
        if twins > 1 {
            let name = short(&names[at]);
            sink.warnings.push(format!(
                "{}:1 names {twins} columns `{name}`; the number of a column tells them apart",
                part.name
            ));
        }
    }
}

fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

fn is_blank(fields: &[&[u8]]) -> bool {
    fields.len() == 1 && fields[0].is_empty()
}

/// The number of fields without the empty ones at the end.
fn filled(fields: &[&[u8]]) -> usize {
    fields.iter().rposition(|field| !field.trim_ascii().is_empty()).map_or(0, |last| last + 1)
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
