//! Renders reviews for the terminal, as a pull-request comment and as JSON. `words` is shared by the first two.

mod json;
mod markdown;
mod text;
mod words;

pub use json::Document;
pub use markdown::markdown;
pub use text::text;
pub use words::phrase;
