//! A teacher that runs beside its student, which imitates the teacher's hidden states and attention scores.

mod shown;
mod teacher;

pub use self::shown::{Counts, TeacherTargets};
pub use self::teacher::{AttentionLoss, Depths, Guide, HiddenLoss, Measure};
