//! DeBERTa-v2 and -v3: one folder, because its attention needs more than a file.

mod attention;
mod distance;
mod encoder;
mod network;

pub(crate) use self::network::{Deberta, DebertaConfig};
