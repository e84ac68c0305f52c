//! Pictures that several kinds write, with their numbers as tables.

pub mod confusion;
pub mod curve;
