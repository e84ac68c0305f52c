//! Texts: from files to a clean corpus, to token ids, to batches.

pub mod augment;
pub mod batch;
pub mod data;
pub mod day;
pub mod explore;
pub mod ids;
pub mod near;
pub mod tokenizer;
pub mod words;
