//! From files to rows: formats, encodings, compression and layouts of data sets.

pub(crate) mod card;
mod columnar;
mod delimited;
mod encoding;
mod features;
mod format;
mod ipc;
mod json;
pub(crate) mod layout;
mod lines;
pub(crate) mod look;
pub(crate) mod pages;
mod quotes;
pub mod raw;
pub mod reader;
mod sniff;
pub(crate) mod sources;
pub(crate) mod table;
pub(crate) mod unpack;
