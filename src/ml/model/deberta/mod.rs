//! DeBERTa-v2 and -v3 with a classification head: config, attention, encoder, pooler, forward.

mod distance;
mod family;

pub use self::distance::RelativeConfig;
pub use self::family::{Body, Deberta, DebertaConfig, DisentangledSelfAttention, Encoder, Places, Pooler};
