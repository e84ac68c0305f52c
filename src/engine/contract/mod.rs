//! The contract between the engine and a kind: what a kind declares, what a running stage may use, and what it reports.

pub mod ahead;
pub mod context;
pub mod event;
pub mod kind;
pub mod measured;
pub mod needs;
pub mod origin;
pub mod port;
pub mod progress;
pub mod run_id;
pub mod trial;
pub mod wire;
