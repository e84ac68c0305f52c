//! AdamW with global-norm clipping over a model's trainable parameters.

mod adamw;
mod gradients;
mod held;

pub use self::adamw::{AdamW, AdamWSettings};
pub use self::gradients::{Accumulated, Norm};
