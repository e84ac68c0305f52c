//! Text data: from raw files to a clean corpus, and from a corpus to token ids.

pub mod align;
pub mod clean;
pub mod corpus;
pub mod labels;
pub mod outcomes;
mod pages;
pub mod predictions;
pub mod preprocess;
pub mod raw;
pub mod reader;
pub mod report;
pub mod spec;
pub mod split;
pub mod table;
pub mod tokenize;
pub mod tokens;

pub use corpus::{Corpus, Example};
pub use preprocess::preprocess;
pub use report::Report;
pub use spec::Spec;
pub use tokenize::{TokenReport, tokenize};
pub use tokens::{Split, Tokens};
