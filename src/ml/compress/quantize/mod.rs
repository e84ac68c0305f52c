//! Store a model's weights in fewer bits, and find out what that does to its layers.

mod matrix;
mod scheme;
mod sensitivity;

pub use self::scheme::{GROUP, QuantizeReport, QuantizedTensor, Request, Scheme, quantize};
pub use self::sensitivity::{Calibration, Form, MeasuredLayer};
