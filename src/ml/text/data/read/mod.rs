//! From files to rows: formats, encodings, compression and layouts of data sets.

pub(crate) mod card;
mod columnar;
mod columns;
mod content;
mod delimited;
mod encoding;
pub mod error;
mod features;
mod format;
mod glob;
mod ipc;
mod json;
pub(crate) mod layout;
mod lines;
pub(crate) mod listed;
pub(crate) mod look;
pub mod missing;
pub(crate) mod pages;
mod quotes;
pub mod raw;
pub mod reader;
mod seen;
mod sniff;
pub(crate) mod sources;
pub(crate) mod table;
pub(crate) mod unpack;
mod usual;
