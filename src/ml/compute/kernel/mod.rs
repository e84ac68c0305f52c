//! Operations that the CPU computes in one pass, forward and backward, where Burn's own take a chain of them.
//!
//! They see plain slices of `f32`. Each has a function here that takes and gives tensors and stands for the chain; callers
//! ask [`fuses`] first, and take Burn's operations on other devices and for other numbers.

mod attention;
mod gelu;
mod integer;
mod linear;
mod lora;
mod math;
pub mod matmul;
mod norm;
mod operation;
mod values;

pub use self::attention::attention;
pub use self::gelu::gelu;
pub use self::integer::{integer_linear, unpacked_linear};
pub use self::linear::linear;
pub use self::lora::adapted;
pub use self::math::{sum_by, vectorized, vectorized_call};
pub use self::norm::{add_norm, norm};
pub use self::operation::fuses;
