//! Devices, numbers and kernels: what every computation stands on.

pub mod allocator;
pub(crate) mod cross_entropy;
pub mod device;
pub mod dropout;
pub(crate) mod foreign;
pub(crate) mod int4;
pub(crate) mod int8;
pub(crate) mod kernel;
pub mod numbers;
pub mod precision;
