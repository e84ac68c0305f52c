//! What a fit trains: a model, and what helps to train it and is thrown away at the end.

use burn::module::Module;

use crate::model::Model;
use crate::model::linear::Linear;

/// A model in training. Its parameters have the names that they have in the model, the projection's begin with its own.
#[derive(Module, Debug)]
pub struct Pupil {
    pub model: Model,
    /// From the model's hidden states to those of a teacher of another width.
    pub projection: Option<Linear>,
}
