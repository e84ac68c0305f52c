//! Pipelines, fingerprints, cache and scheduling. Knows nothing of machine learning and prints nothing.

pub mod artifact;
pub mod cache;
pub mod diagnostic;
pub mod diff;
pub mod digest;
mod draw;
pub mod event;
pub mod execute;
pub mod export;
pub mod external;
mod fan_out;
pub mod forecast;
pub mod graph;
pub mod history;
pub mod kind;
pub mod manifest;
pub mod parameters;
pub mod pipeline;
pub mod plan;
pub mod project;
pub mod resolve;
pub mod schedule;
pub mod value;
