//! `pipe`: a declarative pipeline engine for fine-tuning and compressing transformer text classifiers.
//!
//! A pipeline file is parsed and resolved into instances (`engine::resolve`), wired into a DAG (`engine::graph`), judged
//! against the cache (`engine::plan`) and run (`engine::schedule`); two definitions are compared without running either
//! (`engine::diff`). Each instance is one of the kinds in `stages`, which call `ml` for the work. The engine tells what
//! happens as events; `report` turns them into text and `cli` ties it together.

pub mod cli;
pub mod error;
pub mod report;
pub mod stages;
