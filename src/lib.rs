//! `pipe`: a declarative pipeline engine for fine-tuning and compressing transformer text classifiers.
//!
//! The engine is the crate `pipe-engine`, the machine learning is `pipe-ml`. Here are the kinds of stages (`stages`), the
//! texts that users see (`report`), the pictures (`draw`), and the command line, which connects everything (`cli`). A program with
//! kinds of its own calls [`main`] with them; [`kind`] has what they need. `docs/architecture.md` describes the whole.

// What the crate does not offer to others is not `pub`; helpers of tests may be.
#![cfg_attr(not(test), warn(unreachable_pub))]

pub mod cli;
mod draw;
pub mod error;
pub mod kind;
pub mod report;
pub mod stages;

pub use cli::main;
pub use stages::{Allocator, KINDS};
