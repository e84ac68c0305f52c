//! Hit or run, and why: a pipeline held against the cache, the files around it and its history.

pub mod external;
mod fit;
mod foresee;
pub mod history;
pub mod job;
pub mod plan;
pub mod project;
mod tree;
pub mod trial;
pub mod verdict;
