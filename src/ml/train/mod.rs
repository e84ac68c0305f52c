//! The training loop and what it is made of.

pub mod checkpoint;
pub mod fit;
pub mod guide;
pub mod objective;
pub mod optimizer;
pub mod schedule;
