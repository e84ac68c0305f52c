//! Pipelines, fingerprints, cache and scheduling. Knows nothing of machine learning and prints nothing.

pub mod artifact;
pub mod cache;
pub mod diagnostic;
pub mod digest;
pub mod disk;
mod draw;
pub mod entry;
pub mod event;
pub mod execute;
pub mod export;
pub mod external;
mod fan_out;
pub mod graph;
pub mod history;
pub mod kind;
pub mod lock;
pub mod manifest;
pub mod parameters;
pub mod partial;
pub mod pipeline;
pub mod plan;
pub mod project;
pub mod resolve;
pub mod schedule;
pub mod value;
pub mod view;
