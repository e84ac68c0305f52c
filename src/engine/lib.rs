//! Pipelines, fingerprints, cache and scheduling. Knows nothing of machine learning and prints nothing.
//!
//! The rooms, each importing only from those above it: `text` (what users write, with places), `store` (objects, entries
//! and manifests on disk), `contract` (what a kind is and what it may use), `declare` (a file resolved into instances),
//! `judge` (hit or run, and why), `run` (schedules and attempts) and `diff` (two definitions compared).

// What the crate does not offer to others is not `pub`; helpers of tests may be.
#![cfg_attr(not(test), warn(unreachable_pub))]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "pipe builds on Linux only: its file locks, atomic commits and recovery after a kill are tested there alone"
);

pub mod contract;
pub mod declare;
pub mod diff;
pub mod judge;
pub mod run;
pub mod store;
pub mod text;
