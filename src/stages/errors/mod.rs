//! The kind `errors`: what a classifier gets wrong, and where.

mod ahead;
mod kind;
mod markdown;
mod pictures;
mod rows;
mod summary;
mod tables;
#[cfg(test)]
mod tests;

pub use kind::Errors;
