//! A teacher at work beside its student, which imitates its hidden states and attention scores.

mod shown;
mod teacher;

pub use self::shown::{Counts, Shown};
pub use self::teacher::{AttentionLoss, Depths, Guide, HiddenLoss, Measure};
