//! What a corpus looks like, in numbers: labels, days, lengths, typical words, near-duplicates.

pub mod days;
pub mod duplicates;
pub mod lengths;
pub mod look;
mod stop;
pub mod vocabulary;

pub use days::{Days, Period};
pub use duplicates::{Duplicates, Link};
pub use lengths::{Cut, Lengths, Measured};
pub use look::{Look, Options, SourceRows, SplitRows, look};
pub use vocabulary::{CloudWord, Typical, TypicalWord};
