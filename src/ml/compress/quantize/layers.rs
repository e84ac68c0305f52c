//! The linear layers of a model, and which of them may compute in integers.

use crate::files::host::Layout;
use crate::model::Model;
use crate::model::names::WEIGHT;
use crate::model::part::{Part, place};

/// The names of a model's linear layers.
pub(super) fn linears(model: &Model) -> Vec<String> {
    let linears = model.parameters().into_iter().filter(|p| p.layout == Layout::Transposed);
    linears.filter_map(|p| p.name.strip_suffix(WEIGHT).map(str::to_owned)).collect()
}

/// Whether a linear layer may compute in integers. The head, which is small and last, never does.
pub(super) fn may_round(name: &str) -> bool {
    place(name).part != Part::Head
}
