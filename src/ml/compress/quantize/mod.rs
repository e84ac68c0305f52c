//! Stores a model's weights in fewer bits, and measures the effect on its layers.

mod layers;
mod matrix;
mod scheme;
mod sensitivity;

pub use self::scheme::{GROUP, QuantizeReport, QuantizedTensor, Request, Scheme, quantize};
pub use self::sensitivity::{Calibration, Form, MeasuredLayer, measure_batches};
