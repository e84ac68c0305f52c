//! Hyper-parameter search: the space, the next point to try, what mattered, and the journal that Optuna reads.

mod domain;
mod grid;
mod history;
mod importance;
mod journal;
mod normal;
#[cfg(test)]
mod parity_tests;
mod parzen;
mod problem;
mod random;
mod sampler;
mod space;
pub mod table;
#[cfg(test)]
mod tests;
mod tpe;

pub use self::domain::{Domain, Value};
pub use self::history::{Observed, Outcome};
pub use self::importance::importances;
pub use self::journal::{Study, Trial, journal};
pub use self::problem::{Fault, Problem};
pub use self::sampler::{Method, Sampler};
pub use self::space::{Parameter, Point, Space, When};
