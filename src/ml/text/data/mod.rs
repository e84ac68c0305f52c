//! Text data: from raw files to a clean corpus, and from a corpus to token ids.

pub mod align;
pub(crate) mod clean;
pub(crate) mod corpus;
pub mod declare;
mod drops;
mod fill;
pub mod grow;
pub(crate) mod labels;
pub mod made;
mod names;
mod nearly;
pub mod outcomes;
pub mod predictions;
pub(crate) mod preprocess;
pub mod read;
pub(crate) mod report;
pub mod scored;
pub(crate) mod split;
mod take;
pub mod taken;
pub mod tokenize;
pub mod tokens;

pub use clean::cleaning::Cleaning;
pub use corpus::{Corpus, Example, Made};
pub use declare::spec::Spec;
pub use preprocess::{preprocess, preprocess_at};
pub use read::look::{Looked, look};
pub use report::{Report, SourceReport};
pub use tokenize::{TokenReport, tokenize};
pub use tokens::{Split, TokenRow, Tokens};
