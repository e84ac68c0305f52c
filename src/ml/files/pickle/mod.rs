//! `pytorch_model.bin`: plain tensor data and a pickle that names it, read without running any of it.

mod bytes;
mod legacy;
mod machine;
mod read;
mod zip;

pub use self::read::tensors;
