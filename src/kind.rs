//! What a kind of your own needs: the contract with the engine, and the types of artifacts that the built-in kinds
//! exchange. `docs/extending.md` explains it, and says what of it stays stable.

pub use crate::stages::shared::types;
pub use pipe_engine::contract::context::{Context, Input, Interrupted};
pub use pipe_engine::contract::kind::{
    Arity, External, Invalid, Kind, Labels, Need, Port, Resource, Stage, Type, What,
};
pub use pipe_engine::contract::measured::Measured;
pub use pipe_engine::contract::progress::Progress;
