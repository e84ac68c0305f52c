//! What is on disk: objects, entries and manifests, committed whole, verified when read, locked against other processes.

pub mod archive;
pub mod artifact;
pub mod cache;
pub mod collect;
pub mod digest;
pub mod disk;
pub mod entry;
pub mod error;
pub mod lease;
pub mod lock;
pub(crate) mod log;
pub mod manifest;
pub mod partial;
pub mod verify;
pub mod view;
