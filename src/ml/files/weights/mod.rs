//! Finds and opens the weight files of a model folder, single or sharded, safetensors or PyTorch, without reading values.

pub(crate) mod header;
mod open;
pub(crate) mod pieces;
mod rebuild;
pub(crate) mod stored;
pub(crate) mod write;

pub use self::header::SCALE;
pub use self::open::{INDEX, PICKLE, PICKLE_INDEX, SINGLE, Weights, bytes, files, files_at, read, shard_names, unread};
pub use self::stored::value;
pub use self::write::{Encoded, Pair, write, write_f32, write_file, write_whole};
