//! Models named `hf:OWNER/NAME[@REVISION]`: found in the Hugging Face cache or downloaded into it.

mod checksum;
mod client;
mod download;
mod failure;
mod reference;
mod resolve;
#[cfg(test)]
mod server;
mod settings;
mod store;

pub use self::resolve::{Need, Resolved, held, is_reference, resolve};
