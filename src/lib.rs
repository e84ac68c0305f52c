//! `pipe`: a declarative pipeline engine for fine-tuning and compressing transformer text classifiers.
//!
//! A pipeline file is parsed and resolved into instances (`engine::resolve`), wired into a DAG (`engine::graph`),
//! judged against the cache (`engine::plan`) and run (`engine::schedule`). `engine::diff` compares two definitions
//! without running them. Each instance is of one of the kinds in `stages`, which use `ml` for the work. The engine
//! reports events; `report` turns them into text, and `cli` connects everything.

pub mod cli;
pub mod error;
pub mod report;
pub mod stages;
