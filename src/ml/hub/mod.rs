//! Resolves models named `hf:OWNER/NAME[@REVISION]` to a folder of the Hugging Face cache, downloading them if needed.

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
