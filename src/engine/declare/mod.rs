//! A pipeline file with a profile and overrides, resolved into typed, wired instances.

pub mod amounts;
pub(crate) mod drawn;
pub mod export;
pub(crate) mod exports;
pub(crate) mod fan_out;
pub mod graph;
pub mod instance;
pub mod layers;
pub(crate) mod plugs;
pub(crate) mod ports;
pub(crate) mod readers;
mod rehearse;
pub mod resolve;
pub mod templates;
pub(crate) mod variant;
pub(crate) mod wiring;
