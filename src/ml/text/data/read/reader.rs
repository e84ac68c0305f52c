//! Reads a source into rows of text and label: all formats, encodings and layouts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

use super::layout::{Layout, Place, layout};
use super::raw::{Cut, Decoder, Encoding, Raw};
pub use super::table::Want;
use super::table::{Part, Sink};
use crate::text::data::declare::mistakes::NO_PAIRS;
use crate::text::data::declare::spec::{Format, Purpose, Source};
use crate::text::data::read::columnar;
use crate::text::data::read::content::{self, Content};
use crate::text::data::read::delimited;
use crate::text::data::read::error::ReadError;
use crate::text::data::read::json;
use crate::text::data::read::lines;
use crate::text::data::read::sniff;
use crate::text::data::report::Unusable;

/// Turns a path of a specification into one on this machine.
pub type Locate<'a> = &'a dyn Fn(&Path) -> PathBuf;

/// The content of a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    pub files: Vec<FileRead>,
    pub rows: Vec<Raw>,
    /// Rows without a usable text or label. Together with `rows` these are all rows of the files.
    pub unusable: Vec<Unusable>,
    /// The names of the classes in the order of their ids, if the files or a mapping have them.
    pub labels: Option<Vec<String>>,
    /// What was understood, and what is probably a mistake; one sentence each.
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
}

/// How a file was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRead {
    pub name: String,
    pub format: Format,
    /// `None` if the format has an encoding of its own.
    pub encoding: Option<Encoding>,
    pub delimiter: Option<u8>,
}

impl Table {
    /// The encodings of the files: `utf-8`.
    pub fn encoding(&self) -> String {
        let mut names: Vec<&str> =
            self.files.iter().map(|file| file.encoding.unwrap_or(Encoding::Utf8).name()).collect();
        names.sort();
        names.dedup();
        names.join(", ")
    }
}

/// Read all rows of a source.
pub fn read(source: &Source, locate: Locate, cut: Cut) -> Result<Table> {
    read_as(source, locate, cut, Want::Rows)
}

/// As [`read`], with or without labels.
pub fn read_as(source: &Source, locate: Locate, cut: Cut, want: Want) -> Result<Table> {
    let path = locate(&source.path);
    let layout = layout(source, &path, want)?;
    let mut names = layout.names(source);
    let Layout { files, notes, .. } = layout;
    let mut sink = Sink::default();
    sink.notes = notes;
    if let Some(mapping) = &source.mapping {
        names = Some(lines::mapping(&locate(mapping))?);
    }
    let labels = match &source.labels_file {
        Some(labels) if want == Want::Rows => {
            ensure!(files.len() == 1, "`labels-file` has the labels of one file, but the source has {}", files.len());
            Some(lines::labels(&locate(labels))?)
        }
        _ => None,
    };
    let mut table = Table::default();
    for place in &files {
        sink.begin();
        let given = Given { source, want, cut, names: names.as_deref(), labels: labels.as_deref() };
        let (file, classes) = given.read(place, &mut sink).with_context(|| match files.len() {
            1 => format!("cannot use {}", place.path.display()),
            _ => format!("cannot use {} of {}", place.name, source.path.display()),
        })?;
        table.files.push(file);
        match (&table.labels, classes) {
            (Some(known), Some(classes)) if *known != classes => {
                bail!("the files of {} name their classes differently", source.path.display())
            }
            (None, classes) => table.labels = classes,
            _ => {}
        }
    }
    table.labels = table.labels.or(names);
    let Sink { rows, unusable, notes, warnings, .. } = sink;
    Ok(Table { rows, unusable, notes, warnings, ..table })
}

/// What is known of a source before a file of it is read.
struct Given<'a> {
    source: &'a Source,
    want: Want,
    cut: Cut,
    names: Option<&'a [String]>,
    labels: Option<&'a [String]>,
}

impl Given<'_> {
    /// Read a file; also returns the class names that it has itself.
    fn read(&self, place: &Place, sink: &mut Sink) -> Result<(FileRead, Option<Vec<String>>)> {
        let mut part = self.part(place, Encoding::Utf8);
        let name = place.name.clone();
        let whole = |format| FileRead { name: name.clone(), format, encoding: None, delimiter: None };
        let text = match content::open(place, self.source.member.as_deref())? {
            Content::Parquet => {
                let classes = columnar::parquet(&part, &place.path, sink)?;
                return Ok((whole(Format::Parquet), classes));
            }
            Content::Arrow(bytes) => return Ok((whole(Format::Arrow), columnar::arrow(&part, &bytes, sink)?)),
            Content::Text(text) => text,
        };
        let (bytes, encoding) = (text.bytes(), text.encoding);
        let format = match (text.format, self.want) {
            (Some(format), _) => format,
            (None, Want::Texts) => Format::Lines,
            (None, Want::Rows) => return Err(ReadError::NoEnding { name: text.name.clone() }.into()),
        };
        if encoding != Encoding::Utf8 {
            sink.notes.push(format!("read {} as {}", place.name, encoding.name()));
        }
        part.decoder.encoding = text.decoded_as();
        let mut delimiter = None;
        match format {
            Format::Covid19 | Format::Csv | Format::Tsv => {
                let used = delimited::delimited(&part, format, bytes, sink)?;
                delimiter = Some(used);
                if self.source.delimiter == Some(crate::text::data::declare::spec::Delimiter::Auto) {
                    sink.notes.push(format!("the columns of {} are divided by {}", place.name, sniff::name(used)));
                }
            }
            Format::Jsonl => json::lines(&part, bytes, sink)?,
            Format::Json => json::array(&part, bytes, sink)?,
            Format::Lines if self.want == Want::Rows && self.labels.is_none() => bail!(
                "{} has one text per line and no labels; name the file of its labels with `labels-file`",
                place.name
            ),
            Format::Lines => lines::texts(&part, bytes, sink)?,
            Format::Folders if part.source.text_pair.is_some() => bail!("{}: {NO_PAIRS}", part.name),
            Format::Folders if place.label.is_some() || self.want == Want::Texts => lines::whole(&part, bytes, sink),
            Format::Folders | Format::Dataset => bail!("{} is a file, but its format is that of a folder", place.name),
            Format::Parquet => bail!("{} is not a parquet file", place.name),
            Format::Arrow => bail!("{} is not an Arrow file", place.name),
        }
        Ok((FileRead { name: place.name.clone(), format, encoding: Some(encoding), delimiter }, None))
    }

    fn part<'b>(&'b self, place: &'b Place, encoding: Encoding) -> Part<'b> {
        let by_name = || place.split.as_deref().and_then(Purpose::named);
        Part {
            source: self.source,
            want: self.want,
            name: Arc::from(place.name.as_str()),
            decoder: Decoder { encoding, cut: self.cut },
            // A column says it row by row, if the source has one.
            purpose: self.source.split.purpose().or_else(by_name).unwrap_or_default(),
            label: place.label.as_deref(),
            labels: self.labels,
            names: self.names,
        }
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod layout_tests;
#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
