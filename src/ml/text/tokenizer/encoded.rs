//! The ids of a text, or of a pair of texts.

/// One encoded text, or pair of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub ids: Vec<u32>,
    /// The type of each token: 1 if it belongs to the second text of a pair. Empty if all are 0, or if the model has no
    /// token types.
    pub types: Vec<u8>,
    /// Number of ids before truncation, special tokens included.
    pub full: usize,
}
