//! The module that a fit trains: a model, and a projection that is only needed during training.

use burn::module::Module;

use crate::model::Model;
use crate::model::linear::Linear;

/// A model in training. Its parameters keep their names in the model; the projection's names begin with `projection`.
#[derive(Module, Debug)]
pub struct Pupil {
    pub model: Model,
    /// Maps the model's hidden states to those of a teacher of another width.
    pub projection: Option<Linear>,
}
