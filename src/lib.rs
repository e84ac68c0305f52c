//! pipe
pub mod ml;
