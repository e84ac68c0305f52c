//! The archive: a second store behind the cache that several machines share.

pub mod address;
pub mod client;
pub mod download;
pub mod folder;
pub mod outbox;
pub mod seam;
