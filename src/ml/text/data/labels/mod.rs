//! The labels of a corpus: which there are, how they are spelt, and whether sources that have them belong together.

pub(crate) mod merge;
pub(crate) mod set;
pub(crate) mod spelling;
#[cfg(test)]
mod tests;
