//! The kind `explore`: what a corpus looks like, in numbers, tables and pictures.

mod document;
mod kind;
mod pictures;
mod tables;

pub use kind::Explore;
