//! The kinds of stages: one file or folder each, listed in `KINDS`.

pub mod augment;
pub mod compare;
pub mod convert;
pub mod decide;
pub mod distill;
pub mod errors;
pub mod evaluate;
pub mod explore;
pub mod lora;
pub mod merge;
pub mod model;
pub mod preprocess;
pub mod prune;
pub mod quantize;
pub mod search;
pub mod tokenize;
pub mod train;

pub mod shared;

use pipe_engine::contract::kind::Kind;
use pipe_engine::contract::origin::Origin;

pub use pipe_ml::compute::allocator::{Allocator, hold_freed_memory};
pub use pipe_ml::compute::device::main_memory_bytes;
pub use shared::base::gpus;

/// Every kind, in the usual order in a pipeline.
pub const KINDS: &[Kind] = &[
    Kind::of::<preprocess::Preprocess>(),
    Kind::of::<augment::Augment>(),
    Kind::of::<explore::Explore>(),
    Kind::of::<tokenize::Tokenize>(),
    Kind::of::<train::Train>(),
    Kind::of::<lora::Lora>(),
    Kind::of::<merge::Merge>(),
    Kind::of::<model::TrainedModel>(),
    Kind::of::<prune::Prune>(),
    Kind::of::<quantize::Quantize>(),
    Kind::of::<convert::Convert>(),
    Kind::of::<distill::Distill>(),
    Kind::of::<evaluate::Evaluate>(),
    Kind::of::<decide::Decide>(),
    Kind::of::<errors::Errors>(),
    Kind::of::<compare::Compare>(),
    Kind::of::<search::Search>(),
];

/// Schemes of names that stand for folders elsewhere.
pub const ORIGINS: &[Origin] = &[shared::base::HUB];
