//! How texts are cleaned.

pub mod cleaning;
pub(crate) mod markup;
pub(crate) mod text;
