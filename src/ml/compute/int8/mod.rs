//! Matrix products in 8-bit integers on the CPU.
//!
//! `y = x·W + b`, with `W` rounded to integers once ([`weight`]) and each row of `x` at every call ([`rows`]). The dot products
//! of bytes are exact on every [`path`], so a model gives the same bits on every machine.

mod layer;
mod path;
mod probe;
mod product;
mod rows;
#[cfg(test)]
mod tests;
mod tile;
pub(crate) mod weight;

pub(crate) use self::layer::Layer;
pub(crate) use self::probe::{OneRange, Probe, Rounded};
pub(crate) use self::rows::{Range, Rounding};
pub(crate) use self::weight::Weight;
