//! What rounding a layer does to its results, measured on real activations.

use std::sync::{Arc, Mutex, PoisonError};

use super::layer::Layer;
use super::rows::{Range, Rounding};
use super::weight::Weight;

/// Compares a layer's products in integers with those in floats, call by call.
#[derive(Debug)]
pub struct Probe {
    /// One for each way of rounding activations that is tried.
    layers: Vec<Layer>,
    seen: Mutex<Seen>,
}

/// The sums of what a probe saw.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Of the results' squares.
    norm: f64,
    /// Of the squares of what each rounding changes.
    differences: Vec<f64>,
    /// Of all inputs.
    pub range: Range,
}

impl Probe {
    pub fn new(weight: Arc<Weight>, roundings: Vec<Rounding>) -> Self {
        let seen = Seen { norm: 0.0, differences: vec![0.0; roundings.len()], range: Range { low: 0.0, high: 0.0 } };
        let layer = |rounding| Layer { weight: weight.clone(), rounding };
        Probe { layers: roundings.into_iter().map(layer).collect(), seen: Mutex::new(seen) }
    }

    /// `x` `[N, in]` and its exact result `y` `[N, out]`.
    pub fn see(&self, x: &[f32], bias: &[f32], y: &[f32]) {
        let differences: Vec<f64> = self.layers.iter().map(|layer| squared(&layer.forward(x, bias), y)).collect();
        // The bias is exact: it would hide what happens to the product.
        let norm = y.iter().zip(bias.iter().cycle()).map(|(y, bias)| f64::from(y - bias).powi(2)).sum::<f64>();
        let range = Range::of(x);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.norm += norm;
        seen.differences.iter_mut().zip(differences).for_each(|(sum, more)| *sum += more);
        seen.range = seen.range.and(range);
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Seen {
    /// ‖rounded − exact‖ / ‖exact‖ of the results by each rounding.
    pub fn errors(&self) -> Vec<f64> {
        let error = |difference: &f64| if self.norm > 0.0 { (difference / self.norm).sqrt() } else { 0.0 };
        self.differences.iter().map(error).collect()
    }
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}
