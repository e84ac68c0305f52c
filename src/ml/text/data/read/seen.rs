//! A column with the values of the first rows of a file.

use std::collections::BTreeSet;

use crate::text::data::declare::spec::Purpose;

/// A column with the values of the first rows; empty ones stand for none.
#[derive(Debug)]
pub(crate) struct Seen {
    /// In JSON, parquet and Arrow with the names on the way to it: `data.text`.
    pub name: String,
    pub has_texts: bool,
    pub values: Vec<String>,
}

impl Seen {
    pub(crate) fn new(name: String, has_texts: bool) -> Self {
        Self { name, has_texts, values: Vec::new() }
    }

    pub(crate) fn length(&self) -> usize {
        self.values.iter().map(String::len).sum::<usize>() / self.values.len().max(1)
    }

    pub(crate) fn distinct(&self) -> usize {
        self.values.iter().filter(|value| !value.is_empty()).collect::<BTreeSet<_>>().len()
    }

    pub(crate) fn is_numbers(&self) -> bool {
        self.values.iter().all(|value| value.parse::<f64>().is_ok())
    }

    /// Whether each of its values occurs a few times.
    pub(crate) fn may_be_label(&self) -> bool {
        let (kinds, rows) = (self.distinct(), self.values.len());
        kinds > 1 && kinds < rows && kinds * 4 <= rows.max(8)
    }

    pub(crate) fn is_split(&self) -> bool {
        !self.values.is_empty() && self.values.iter().all(|value| Purpose::named(value).is_some())
    }
}
