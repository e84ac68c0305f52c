//! Text data: from raw files to a clean corpus, and from a corpus to token ids.

pub mod align;
pub(crate) mod clean;
pub mod cleaning;
pub(crate) mod corpus;
pub(crate) mod labels;
pub mod outcomes;
mod pages;
pub mod predictions;
pub(crate) mod preprocess;
pub mod raw;
pub mod reader;
pub(crate) mod report;
pub mod spec;
pub(crate) mod split;
pub(crate) mod table;
pub mod tokenize;
pub mod tokens;

pub use cleaning::Cleaning;
pub use corpus::{Corpus, Example};
pub use preprocess::preprocess;
pub use report::Report;
pub use spec::Spec;
pub use tokenize::{TokenReport, tokenize};
pub use tokens::{Split, Tokens};
