//! Matrix products in 8-bit integers on the CPU.
//!
//! `y = x·W + b`, with `W` rounded to integers once ([`weight`]) and each row of `x` at every call ([`rows`]). The dot products
//! of bytes are exact on every [`path`], so a model gives the same bits on every machine.

pub mod layer;
pub mod path;
pub mod probe;
pub mod product;
pub mod rows;
#[cfg(test)]
mod tests;
mod tile;
pub mod weight;

pub use layer::Layer;
pub use path::Path;
pub use probe::{Probe, Rounded};
pub use rows::{Range, Rounding, Rows};
pub use weight::Weight;
