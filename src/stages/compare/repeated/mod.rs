//! Variants that were run several times, with another seed each time.

mod change;
mod csv;
mod dots;
mod figure;
mod markdown;
mod method;
pub(super) mod over;
mod run;
#[cfg(test)]
mod tests;
mod words;

pub(super) use csv::{runs, table};
pub(super) use dots::svg;
pub(super) use markdown::document;
pub(super) use method::Repeated;
