//! The integer form of a linear layer.

use std::sync::Arc;

use super::path::Path;
use super::product::{Term, multiply};
use super::rows::{Range, Rounding, Rows};
use super::weight::Weight;

/// The layer `x·W + b` with an integer `W`, and the rounding of `x`.
#[derive(Debug, Clone)]
pub struct Layer {
    pub weight: Arc<Weight>,
    pub rounding: Rounding,
}

impl Layer {
    /// Whether both layers have the same shape and rounding, so that one product can compute both.
    pub fn is_like(&self, other: &Self) -> bool {
        let shape = |layer: &Self| (layer.weight.inputs(), layer.weight.outputs());
        self.rounding == other.rounding && shape(self) == shape(other)
    }

    /// `x` `[N, in]`, `bias` `[out]` → `[N, out]`.
    pub fn forward(&self, x: &[f32], bias: &[f32]) -> Vec<f32> {
        Self::forward_all(&[(self, bias)], x)
    }

    /// Applies layers of the same shape and rounding, each with its bias, to the same `x` `[N, in]` →
    /// `[layers · N, out]`, one result below the other. Rounds `x` only once.
    pub fn forward_all(layers: &[(&Self, &[f32])], x: &[f32]) -> Vec<f32> {
        Self::forward_by(Path::best(), layers, x)
    }

    pub(super) fn forward_by(path: Path, layers: &[(&Self, &[f32])], x: &[f32]) -> Vec<f32> {
        let Some((Layer { weight, rounding }, _)) = layers.first() else { return Vec::new() };
        assert!(layers.iter().all(|(layer, _)| layer.rounding == *rounding), "layers with different rounding");
        let terms: Vec<Term> = layers.iter().map(|(layer, bias)| Term { weight: &layer.weight, bias }).collect();
        let inputs = weight.inputs();
        match *rounding {
            Rounding::Token8 => multiply(path, &[Rows::new(x, inputs, Range::of)], &terms),
            Rounding::Token16 => {
                let [high, low] = Rows::new16(x, inputs);
                multiply(path, &[low, high], &terms)
            }
            Rounding::Fixed(range) => {
                // A row with infinite or NaN values still gets a NaN result.
                let kept = |x: &[f32]| Some(Range::of(x)).filter(|own| !own.is_finite()).unwrap_or(range);
                multiply(path, &[Rows::new(x, inputs, kept)], &terms)
            }
        }
    }
}
