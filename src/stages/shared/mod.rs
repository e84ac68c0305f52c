//! What several kinds, or a kind and a command, have in common.

pub mod base;
pub mod card;
pub mod inspector;
pub mod labels;
pub mod layers;
pub mod lineage;
pub mod other_names;
pub mod pictures;
pub mod predictor;
pub mod recovery;
pub mod removal;
pub mod scorer;
pub mod starter;
pub mod texts;
pub mod tokenizers;
pub mod training;
pub mod types;
pub mod watched;
