//! Pruning: sets the smallest weights of linear layers to zero, at once or during training, or makes a model smaller.

mod gradual;
mod half;
pub mod importance;
mod magnitude;
mod mask;
mod pattern;
mod pruning;
pub mod structured;
mod targets;

pub use self::gradual::Gradual;
pub use self::magnitude::Scope;
pub use self::mask::{Mask, Masks};
pub use self::pattern::Pattern;
pub use self::pruning::{Method, PruneReport, PrunedLayer, Pruning, Recovery};
pub use self::targets::Target;
