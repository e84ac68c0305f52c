//! The integer form of a linear layer.

use std::sync::Arc;

use rayon::prelude::*;

use super::path::Path;
use super::product::multiply;
use super::rows::{Range, Rounding, Rows};
use super::weight::Weight;

/// `x·W + b` with `W` in integers, and how `x` is rounded to meet them.
#[derive(Debug, Clone)]
pub struct Layer {
    pub weight: Arc<Weight>,
    pub rounding: Rounding,
}

impl Layer {
    /// `x` `[N, in]`, `bias` `[out]` → `[N, out]`.
    pub fn forward(&self, x: &[f32], bias: &[f32]) -> Vec<f32> {
        self.forward_by(Path::best(), x, bias)
    }

    pub(super) fn forward_by(&self, path: Path, x: &[f32], bias: &[f32]) -> Vec<f32> {
        let (w, inputs) = (&*self.weight, self.weight.inputs());
        match self.rounding {
            Rounding::Token8 => multiply(path, &Rows::new(x, inputs, Range::of), w, bias),
            Rounding::Fixed(range) => {
                // Infinities and what is no number still spoil their row.
                let kept = |x: &[f32]| Some(Range::of(x)).filter(|own| !own.is_finite()).unwrap_or(range);
                multiply(path, &Rows::new(x, inputs, kept), w, bias)
            }
            Rounding::Token16 => {
                let [high, low] = Rows::new16(x, inputs);
                let mut y = multiply(path, &low, w, bias);
                let more = multiply(path, &high, w, &vec![0.0; bias.len()]);
                y.par_chunks_mut(1 << 14).zip(more.par_chunks(1 << 14)).for_each(|(y, more)| {
                    y.iter_mut().zip(more).for_each(|(y, more)| *y += more);
                });
                y
            }
        }
    }
}
