//! What is in a model folder, an adapter folder or a file of weights, told without loading a model.

mod inspection;
mod judge;

pub use self::inspection::{
    Adapter, Depth, Inspection, Parameters, Sizes, Tensor, Vocabulary, WeightFile, What, inspect,
};
