//! Where a classifier is wrong: label errors, slices of rows, disagreements.

pub mod disagree;
pub mod marks;
pub mod scored;
pub mod slices;
pub mod suspects;
pub mod table;
pub mod wilson;
