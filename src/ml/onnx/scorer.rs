//! What scores rows: a model, or its ONNX file.

use anyhow::Result;
use burn::tensor::{Bool, Tensor};

use super::session::Session;
use crate::judge::classifier::{Classifier, Size};
use crate::model::Config;
use crate::text::ids::Ids;

/// A model, or its ONNX file.
pub enum Scorer {
    Model(Box<Classifier>),
    Onnx(Box<Session>),
}

impl Scorer {
    /// `ids` `[B, T]`, `mask` `[B, T]` (true = a real token) → logits `[B, C]`, row by row.
    pub fn logits(&self, ids: impl Into<Ids>, mask: Tensor<2, Bool>) -> Result<Vec<f32>> {
        match self {
            Scorer::Model(classifier) => classifier.logits(ids, mask),
            Scorer::Onnx(session) => session.logits(ids, mask),
        }
    }

    pub fn config(&self) -> &Config {
        match self {
            Scorer::Model(classifier) => classifier.config(),
            Scorer::Onnx(session) => session.config(),
        }
    }

    pub fn size(&self) -> Size {
        match self {
            Scorer::Model(classifier) => classifier.size(),
            Scorer::Onnx(session) => session.size(),
        }
    }
}
