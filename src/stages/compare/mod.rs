//! The kind `compare`: several models side by side, checked against limits.

mod gate;
mod kind;
mod markdown;
mod plot;
mod quality;
mod repeated;
mod row;
mod sources;
#[cfg(test)]
mod tests;

pub use kind::Compare;
