//! The kind `search`: trials of other stages with other parameters, and the best of them.

mod kind;
mod objective;
mod over;
mod pictures;
mod range;
mod report;
mod rungs;
#[cfg(test)]
mod tests;
mod trials;

pub use kind::Search;
