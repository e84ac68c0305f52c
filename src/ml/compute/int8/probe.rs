//! Measures the error of rounded layers on real activations.

use std::sync::{Arc, Mutex, PoisonError};

use super::layer::Layer;
use super::rows::{Range, Rounding};
use super::weight::Weight;
use crate::compute::int4;

/// A rounded product that approximates one in floats.
pub trait Rounded: std::fmt::Debug + Send + Sync {
    /// `x` `[N, in]`, `bias` `[out]` → `[N, out]`.
    fn forward(&self, x: &[f32], bias: &[f32]) -> Vec<f32>;
}

impl Rounded for Layer {
    fn forward(&self, x: &[f32], bias: &[f32]) -> Vec<f32> {
        Layer::forward(self, x, bias)
    }
}

/// An integer layer that rounds its inputs to 8 bits over the range of all rows of a call, as ONNX's
/// `DynamicQuantizeLinear` does.
#[derive(Debug)]
pub(crate) struct OneRange(pub Arc<Weight>);

impl Rounded for OneRange {
    fn forward(&self, x: &[f32], bias: &[f32]) -> Vec<f32> {
        Layer { weight: self.0.clone(), rounding: Rounding::Fixed(Range::of(x)) }.forward(x, bias)
    }
}

impl Rounded for Arc<int4::Weight> {
    fn forward(&self, x: &[f32], bias: &[f32]) -> Vec<f32> {
        int4::Weight::forward(self, x, bias)
    }
}

/// Compares rounded products of a layer with the exact ones, call by call.
#[derive(Debug)]
pub struct Probe {
    /// The layer in each rounding under test.
    tried: Vec<Box<dyn Rounded>>,
    seen: Mutex<Seen>,
}

/// Sums over all calls of a probe.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Sum of the squared results, with the bias and without it.
    norms: [f64; 2],
    /// Sum of the squared errors of each rounding.
    differences: Vec<f64>,
    /// The range of all inputs.
    pub range: Range,
}

impl Probe {
    pub fn new(tried: Vec<Box<dyn Rounded>>) -> Self {
        let range = Range { low: 0.0, high: 0.0 };
        let seen = Seen { norms: [0.0; 2], differences: vec![0.0; tried.len()], range };
        Probe { tried, seen: Mutex::new(seen) }
    }

    /// Adds a call with input `x` `[N, in]` and exact result `y` `[N, out]`.
    pub fn see(&self, x: &[f32], bias: &[f32], y: &[f32]) {
        let differences: Vec<f64> = self.tried.iter().map(|tried| squared(&tried.forward(x, bias), y)).collect();
        let norms = y.iter().zip(bias.iter().cycle()).fold([0f64; 2], |[with, without], (y, bias)| {
            [with + f64::from(*y).powi(2), without + f64::from(y - bias).powi(2)]
        });
        let range = Range::of(x);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.norms.iter_mut().zip(norms).for_each(|(sum, more)| *sum += more);
        seen.differences.iter_mut().zip(differences).for_each(|(sum, more)| *sum += more);
        seen.range = seen.range.and(range);
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Seen {
    /// ‖rounded − exact‖ / ‖exact‖ of the results, for each rounding.
    ///
    /// ‖exact‖ is the smaller of the norms with and without the bias: a large bias would hide the error of the product, and
    /// so would a product that the bias mostly cancels.
    pub fn errors(&self) -> Vec<f64> {
        let norm = self.norms[0].min(self.norms[1]);
        let error = |difference: &f64| if norm > 0.0 { (difference / norm).sqrt() } else { 0.0 };
        self.differences.iter().map(error).collect()
    }
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}
