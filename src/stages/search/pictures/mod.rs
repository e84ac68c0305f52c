//! Pictures of a finished search.

mod history;
mod parallel;
mod picture;
#[cfg(test)]
mod tests;

pub(super) use history::history;
pub(super) use parallel::parallel;
pub(super) use picture::Picture;
