//! The feed-forward halves of encoder layers: which parameter belongs to which of a half's two matrices.

use crate::model::part::{Part, place};

/// The two matrices of a feed-forward half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    /// From the hidden width to the neurons.
    Wide,
    /// From the neurons back.
    Narrow,
}

/// Which matrix of its layer's feed-forward half a parameter or module belongs to.
pub(super) fn half(name: &str) -> Option<Half> {
    let place = place(name);
    let module = place.within.trim_end_matches(".weight").trim_end_matches(".bias");
    match (place.part, module) {
        (Part::Layer(_), "intermediate.dense" | "ffn.lin1") => Some(Half::Wide),
        (Part::Layer(_), "output.dense" | "ffn.lin2") => Some(Half::Narrow),
        _ => None,
    }
}
