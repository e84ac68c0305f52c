//! Low-rank adapters on a frozen model, computed and stored as PEFT does.

mod adapter;
mod folder;
mod merge;

pub use self::folder::{load_adapter, save_adapter};
pub use self::merge::merge;
pub use crate::model::adapter::{LoraConfig, Targets};
