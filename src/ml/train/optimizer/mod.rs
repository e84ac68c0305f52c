//! AdamW with global-norm clipping over a model's trainable parameters.

mod adamw;
mod collect;
mod flat;
mod gradients;
mod held;
mod update;

pub use self::adamw::AdamW;
pub use self::gradients::{Accumulated, Norm};
pub use self::update::AdamWSettings;
