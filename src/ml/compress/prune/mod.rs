//! Pruning: sets the smallest weights of a model's linear layers to zero, at once or during training, or makes the

mod gradual;
pub mod importance;
mod magnitude;
mod mask;
mod pattern;
mod pruning;
pub mod structured;
mod targets;

pub use self::gradual::Gradual;
pub use self::mask::{Mask, Masks};
pub use self::pattern::Pattern;
pub use self::pruning::{Method, PruneReport, PrunedLayer, Pruning, Recovery, Scope};
pub use self::targets::Target;
