//! A tokenizer opened from a model folder, and parallel encoding of many texts.

mod cache;
mod charsmap;
mod compare;
mod encoded;
mod files;
pub mod learn;
mod open;
mod pair;
mod save;
mod sentencepiece;
mod settings;
mod special;
mod spm;
mod trie;
mod unigram;
mod wordpiece;
mod words;

pub use self::compare::difference;
pub use self::encoded::Encoded;
pub use self::files::{FILES, copy_files, files, is_in};
pub use self::open::Tokenizer;
pub use self::pair::Texts;
pub use self::save::{Limit, limit, name_types, save};
