//! Describes a model folder, an adapter folder or a weight file without loading a model.

mod inspection;
mod judge;

pub use self::inspection::{
    Adapter, Depth, Inspection, Parameters, Sizes, Tensor, Vocabulary, WeightFile, What, inspect,
};
