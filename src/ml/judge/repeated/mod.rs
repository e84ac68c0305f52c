//! What several runs of the same method, each with another seed, say about it and about its change from a baseline.

mod bootstrap;
#[cfg(test)]
mod coverage;
mod differences;
mod order;
#[cfg(test)]
mod peers;
mod power;
mod resample;
mod rows;
mod sign_flip;
mod spread;
mod student;

pub use bootstrap::{Change, TwoLevel, two_level};
pub use differences::Differences;
pub use order::almost_stochastic_order;
pub use power::{POWER, detectable, pairs_needed};
pub use rows::PairedRows;
pub use sign_flip::smallest_p;
pub use spread::Spread;
