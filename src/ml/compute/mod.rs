//! Devices, numbers and kernels: what every computation stands on.

pub mod allocator;
pub mod cross_entropy;
pub mod device;
pub mod dropout;
pub mod foreign;
pub mod int4;
pub mod int8;
pub mod kernel;
pub mod numbers;
pub mod precision;
