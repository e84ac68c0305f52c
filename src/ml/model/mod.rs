//! Text classifiers: a file per family, and [`Model`], which all families share.

pub(crate) mod activation;
pub(crate) mod adapter;
pub mod adopt;
mod bert;
mod classifier;
pub mod config;
pub(crate) mod conv;
pub(crate) mod deberta;
mod distilbert;
pub(crate) mod embedding;
pub(crate) mod encoder;
pub(crate) mod family;
mod fields;
#[cfg(test)]
pub(crate) mod fixture;
mod freeze;
pub mod head;
pub(crate) mod init;
pub(crate) mod integer;
pub(crate) mod linear;
mod load;
pub(crate) mod modules;
pub(crate) mod names;
mod network;
mod norm;
#[cfg(test)]
mod parity;
pub(crate) mod part;
pub(crate) mod peft;
pub(crate) mod quantization;
pub mod relabel;
mod roberta;
pub(crate) mod substitute;
pub(crate) mod walk;

pub use self::classifier::{Hidden, Model};
pub use self::config::Config;
pub use self::family::Family;
pub use self::load::{Initialised, Loaded, Match, shortened};
pub use self::walk::Named;
pub use crate::files::host::{HostTensor, HostTensors};
