//! Fused CPU operations: each computes in one pass, forward and backward, what takes a chain of Burn's operations.
//!
//! The operations work on slices of `f32`. For each, a function here takes and returns tensors. Callers check
//! [`fuses`] first, and use Burn's operations on other devices and for other number types.

mod attention;
mod gelu;
mod integer;
mod linear;
mod lora;
mod math;
pub(crate) mod matmul;
mod norm;
mod operation;
mod values;

pub(crate) use self::attention::attention;
pub(crate) use self::gelu::gelu;
pub(crate) use self::integer::{integer_linear, unpacked_linear};
pub(crate) use self::linear::linear;
pub(crate) use self::lora::adapted;
pub(crate) use self::math::{sum_by, vectorized, vectorized_call};
pub(crate) use self::norm::{add_norm, norm};
pub(crate) use self::operation::fuses;
