//! The error about a column that a file does not have, and what it probably is instead.

use std::fmt;

use super::listed::{closest, listed, short};
use crate::text::data::declare::spec::Column;

/// A column that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingColumn {
    pub wanted: Column,
    /// What the column is for: `text`.
    pub role: &'static str,
    /// The columns that are there.
    pub columns: Vec<String>,
    pub hint: Option<Hint>,
}

/// What the first line of a file looks like instead of the header that the source expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// This byte seems to divide it.
    Delimiter(u8),
    /// It seems to be a row.
    Row,
}

impl MissingColumn {
    pub(crate) fn new(columns: &[String], wanted: &Column, role: &'static str) -> Self {
        Self { wanted: wanted.clone(), role, columns: columns.to_vec(), hint: None }
    }
}

impl std::error::Error for MissingColumn {}

impl fmt::Display for MissingColumn {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { wanted, role, columns, hint } = self;
        let known = listed(columns);
        match wanted {
            Column::Number(number) => {
                let noun = if columns.len() == 1 { "column" } else { "columns" };
                let count = columns.len();
                write!(
                    f,
                    "the file has no column {number} for the {role}: it has {count} {noun} ({known}), counted from 1"
                )?;
            }
            Column::Name(wanted) => {
                write!(f, "the file has no column `{wanted}` for the {role}; its columns are {known}")?;
                let near = closest(wanted, columns.iter().map(String::as_str));
                // Who followed a similar name in a header that is divided wrongly would follow the wrong advice.
                if let Some(near) = near.filter(|_| !matches!(hint, Some(Hint::Delimiter(_)))) {
                    write!(f, "; did you mean {role} = \"{}\"?", short(near))?;
                }
            }
        }
        match hint {
            Some(Hint::Delimiter(delimiter)) => {
                let (what, set) = match delimiter {
                    b'\t' => ("a tab seems".to_owned(), "format = \"tsv\"".to_owned()),
                    b',' => ("a comma seems".to_owned(), "format = \"csv\"".to_owned()),
                    other => {
                        let other = char::from(*other);
                        (format!("`{other}` seems"), format!("delimiter = \"{other}\""))
                    }
                };
                let header = match columns.len() {
                    1 => "the header has one column",
                    _ => "the header may be divided wrongly",
                };
                write!(f, ": {header}, and {what} to divide it: set {set}")
            }
            Some(Hint::Row) => f.write_str(
                "; the first line looks like a row, not like a header: set `header = false`, and name the columns by number, \
                 counted from 1",
            ),
            None => Ok(()),
        }
    }
}
