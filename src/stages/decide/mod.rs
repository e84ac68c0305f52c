//! The kind `decide`: what turns the logits of a model into labels.

mod ahead;
mod given;
mod kind;
mod words;

pub use kind::Decide;
