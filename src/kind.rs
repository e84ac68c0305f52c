//! What a kind of your own needs: the contract with the engine, and the types of artifacts that the built-in kinds
//! exchange. `docs/extending.md` explains it, and says what of it stays stable.

pub use crate::stages::shared::types;
pub use pipe_engine::contract::ahead::Ahead;
pub use pipe_engine::contract::context::{Context, Input, Interrupted};
pub use pipe_engine::contract::kind::{External, FromReaders, Invalid, Kind, Labels, Need, Resource, Stage, What};
pub use pipe_engine::contract::measured::Measured;
pub use pipe_engine::contract::needs::Needs;
pub use pipe_engine::contract::port::{Arity, Extra, MorePorts, Port, Type};
pub use pipe_engine::contract::progress::Progress;
pub use pipe_engine::contract::trial::{Beginning, Found, Override, Sample, Target, Template, Trial, Tried};
pub use pipe_engine::store::artifact::Artifact;
