//! A pipeline file with a profile and overrides, resolved into typed, wired instances.

pub mod amounts;
pub(crate) mod fan_out;
pub mod graph;
pub mod instance;
pub mod layers;
pub(crate) mod ports;
pub(crate) mod readers;
pub mod resolve;
pub mod templates;
pub(crate) mod variant;
pub(crate) mod wiring;
