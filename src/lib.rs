//! pipe
pub mod cli;
pub mod engine;
pub mod error;
pub mod ml;
pub mod report;
