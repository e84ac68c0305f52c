//! Text data: from raw files to a clean corpus, and from a corpus to token ids.

pub mod align;
pub(crate) mod clean;
pub(crate) mod corpus;
#[cfg(test)]
mod label_tests;
pub(crate) mod labels;
mod look;
mod markup;
mod merge;
pub mod outcomes;
mod pages;
pub mod predictions;
pub(crate) mod preprocess;
mod problems;
pub mod raw;
pub mod reader;
pub(crate) mod report;
mod sources;
pub mod spec;
pub(crate) mod spelling;
pub(crate) mod split;
pub(crate) mod table;
pub mod tokenize;
pub mod tokens;

pub use corpus::{Corpus, Example};
pub use look::look;
pub use preprocess::preprocess;
pub use report::Report;
pub use spec::Spec;
pub use tokenize::{TokenReport, tokenize};
pub use tokens::{Split, Tokens};
