//! Low-rank adapters on a frozen model, computed and stored as PEFT does.

mod adapter;
mod merge;
mod peft;

pub use self::adapter::{LoraConfig, Targets};
pub use self::merge::merge;
pub(crate) use self::peft::{CONFIG, PREFIX, WEIGHTS, read_config};
pub use self::peft::{load_adapter, save_adapter};
