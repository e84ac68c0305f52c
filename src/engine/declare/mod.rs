//! A pipeline file with a profile and overrides, resolved into typed, wired instances.

pub mod amounts;
pub(crate) mod fan_out;
pub mod graph;
pub mod instance;
pub mod layers;
pub mod resolve;
pub(crate) mod wiring;
