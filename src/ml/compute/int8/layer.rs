//! The integer form of a linear layer.

use std::sync::Arc;

use super::path::Path;
use super::product::{Term, multiply};
use super::rows::{Range, Rounding, Rows};
use super::weight::Weight;

/// `x·W + b` with `W` in integers, and how `x` is rounded to meet them.
#[derive(Debug, Clone)]
pub struct Layer {
    pub weight: Arc<Weight>,
    pub rounding: Rounding,
}

impl Layer {
    /// Whether both can share a product.
    pub fn is_like(&self, other: &Self) -> bool {
        let shape = |layer: &Self| (layer.weight.inputs(), layer.weight.outputs());
        self.rounding == other.rounding && shape(self) == shape(other)
    }

    /// `x` `[N, in]`, `bias` `[out]` → `[N, out]`.
    pub fn forward(&self, x: &[f32], bias: &[f32]) -> Vec<f32> {
        Self::forward_all(&[(self, bias)], x)
    }

    /// Layers of one shape and rounding, each with its bias, that read the same `x` `[N, in]`: their results one below the
    /// other, `[layers · N, out]`. `x` is rounded once.
    pub fn forward_all(layers: &[(&Self, &[f32])], x: &[f32]) -> Vec<f32> {
        Self::forward_by(Path::best(), layers, x)
    }

    pub(super) fn forward_by(path: Path, layers: &[(&Self, &[f32])], x: &[f32]) -> Vec<f32> {
        let Some((Layer { weight, rounding }, _)) = layers.first() else { return Vec::new() };
        assert!(layers.iter().all(|(layer, _)| layer.rounding == *rounding), "layers that round differently");
        let terms: Vec<Term> = layers.iter().map(|(layer, bias)| Term { weight: &layer.weight, bias }).collect();
        let inputs = weight.inputs();
        match *rounding {
            Rounding::Token8 => multiply(path, &[Rows::new(x, inputs, Range::of)], &terms),
            Rounding::Token16 => {
                let [high, low] = Rows::new16(x, inputs);
                multiply(path, &[low, high], &terms)
            }
            Rounding::Fixed(range) => {
                // Infinities and what is no number still spoil their row.
                let kept = |x: &[f32]| Some(Range::of(x)).filter(|own| !own.is_finite()).unwrap_or(range);
                multiply(path, &[Rows::new(x, inputs, kept)], &terms)
            }
        }
    }
}
