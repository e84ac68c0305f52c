//! Changes texts in small ways that keep their label: more training rows from few.

mod draws;
mod keyboard;
pub mod operation;
pub mod rewrite;
mod synonyms;
mod words;

pub use operation::Operation;
pub use rewrite::{Augmentation, Texts};
