//! The kind `evaluate`: a model, and what is decided from its logits, on labelled rows.

mod judged;
mod kind;
mod quality;
mod reliability;
mod table;

pub use kind::{Cost, Evaluate, Scores};
pub use quality::Quality;
