//! What users say about their data, and the mistakes in it that can be seen before a file is read.

pub mod mistakes;
pub(crate) mod problems;
pub(crate) mod purpose;
pub mod source;
pub mod spec;
pub mod take;
mod wanted;
