//! A teacher that runs beside its student, which imitates the teacher's hidden states and attention scores.

mod targets;
mod teacher;

pub use self::targets::{Counts, TeacherTargets};
pub use self::teacher::{AttentionLoss, Depths, Guide, HiddenLoss, Measure};
