//! How texts are cleaned.

pub(crate) mod cleaning;
pub(crate) mod markup;
pub(crate) mod text;
