//! What is wrong with a source, as a value, for callers that have advice of their own: a command knows its options.

use super::listed::listed;
use super::missing::MissingColumn;

/// Ends the messages about names that say no format.
const KNOWN: &str =
    "known endings are .csv, .tsv, .jsonl, .json, .txt, .parquet and .arrow, also packed (.gz, .zip, .zst)";

/// An error of the reader that callers may want to recognise; find it with `downcast_ref`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The ending of the file is not one that is known.
    #[error("{name} has the ending `.{ending}`, which says no format; give the format, or rename the file; {KNOWN}")]
    UnknownEnding { name: String, ending: String },
    /// The file is something else than rows of text.
    #[error("{name} cannot be read: {advice}; {KNOWN}")]
    OtherFormat { name: String, advice: &'static str },
    /// The file has no ending.
    #[error("{name} has no ending that says its format; set `format`")]
    NoEnding { name: String },
    /// JSON is expected to be an array, but is an object on each line.
    #[error("{name} is not a JSON array, but has an object on each line: set format = \"jsonl\"")]
    ObjectPerLine { name: String },
    /// The file lacks a column that the source wants.
    #[error(transparent)]
    MissingColumn(#[from] MissingColumn),
    /// A column by name, of a file without a header.
    #[error(
        "the source has no header (`header = false`), so `{name}` names no column; write the number of the {role} column, \
         counted from 1: {role} = 1"
    )]
    NoHeader { name: String, role: &'static str },
    /// A column by number, of a file whose fields have no order.
    #[error("JSON has no columns by number: write the name of a field for {role}, instead of {number}")]
    NumberInJson { number: usize, role: &'static str },
    /// A data set with several configurations, of which the source names none.
    #[error("the data set has the configurations {}; choose one with `config`", listed(.names))]
    Configurations { names: Vec<String> },
}
