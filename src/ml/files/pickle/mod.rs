//! Reads `pytorch_model.bin`, which holds tensor data and a pickle that describes it, without running any code.

mod bytes;
mod legacy;
mod machine;
mod read;
mod storage;
mod zip;

pub(crate) use self::read::tensors;
