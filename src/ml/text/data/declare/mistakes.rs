//! Mistakes in a source that can be seen without its file.

use super::source::Column;
use super::spec::{Format, Source};
use crate::text::data::read::date;

pub(crate) const NO_PAIRS: &str = "a file with one text per line, or one text as a whole, has no second text";

/// What is wrong with a source, as far as that can be seen without its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub what: String,
    pub help: String,
}

impl Source {
    /// All mistakes that can be seen without reading a file.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut all = Vec::new();
        let mut add = |what: String, help: &str| all.push(Mistake { what, help: help.to_owned() });
        let (text, label) = (self.text_column(), self.label_column());
        let is_read = self.labels_file.is_none() && self.format != Some(Format::Folders);
        let pair = self.text_pair.as_ref();
        if pair == Some(&text) {
            add(format!("text and text-pair are both column {text}"), "name the column of the second text");
        }
        if pair == Some(&label) && is_read {
            add(format!("text-pair and label are both column {label}"), "name the column of the second text");
        }
        if pair.is_some() && matches!(self.format, Some(Format::Lines | Format::Folders)) {
            add(NO_PAIRS.to_owned(), "leave out `text-pair`, or use a file with columns");
        }
        if text == label && is_read {
            add(
                format!("text and label are both column {text}"),
                "name two columns; if the file has only one, its delimiter may be another: delimiter = \"auto\"",
            );
        }
        if !self.header {
            let roles = [
                (Some(&text), "text"),
                (pair, "text-pair"),
                (Some(&label).filter(|_| is_read), "label"),
                (self.id.as_ref(), "id"),
                (self.date.as_ref(), "date"),
            ];
            for (column, role) in roles {
                if let Some(Column::Name(name)) = column {
                    add(
                        format!("`{role}` is the column `{name}`, but with `header = false` columns have no names"),
                        &format!("write the number of the column, counted from 1: {role} = 1"),
                    );
                }
            }
        }
        let fits = |formats: &[Format]| self.format.is_none_or(|format| formats.contains(&format));
        if (self.delimiter.is_some() || !self.header) && !fits(&[Format::Csv, Format::Tsv, Format::Covid19]) {
            add("`delimiter` and `header` are for CSV and TSV".to_owned(), "leave them out");
        }
        if let (Some(format), Some(why)) = (&self.date_format, self.date_format.as_deref().and_then(date::mistake)) {
            add(
                format!("date-format is `{format}`, but {why}"),
                "write for example \"%d.%m.%Y\" or \"%Y-%m-%d %H:%M\"",
            );
        }
        if self.date_format.is_some() && self.date_column().is_none() {
            add("`date-format` is set, but no `date`".to_owned(), "name the column with the dates");
        }
        if self.labels_file.is_some() && !fits(&[Format::Lines]) {
            add("`labels-file` is for files with one text per line".to_owned(), "set format = \"lines\"");
        }
        all
    }
}
