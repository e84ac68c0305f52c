//! Layer normalization in one pass, alone or after dropout and a residual connection.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::math::{sum_by, sum_of_pairs, vectorized};
use super::operation::{Operation, apply3, apply4};
use super::values::{Values, written};
use crate::compute::dropout::Mask;

/// `(x − mean) / √(variance + ε) · weight + bias` over the last axis: `x` `[.., H]`, `weight` and `bias` `[H]` → `[.., H]`.
pub(crate) fn norm<const D: usize>(x: Tensor<D>, (weight, bias): (Tensor<1>, Tensor<1>), epsilon: f64) -> Tensor<D> {
    apply3(Norm { epsilon: epsilon as f32, mask: None }, (x, weight, bias))
}

/// Layer normalization of `x · mask + residual`. Without a mask, all factors are 1.
pub(crate) fn add_norm<const D: usize>(
    (x, residual): (Tensor<D>, Tensor<D>),
    (weight, bias): (Tensor<1>, Tensor<1>),
    epsilon: f64,
    mask: Option<Mask>,
) -> Tensor<D> {
    apply4(Norm { epsilon: epsilon as f32, mask }, (x, residual, weight, bias))
}

/// Rows per parallel block. Gradients of weight and bias are summed block by block in a fixed order.
const ROWS: usize = 32;

#[derive(Debug, Clone)]
struct Norm {
    epsilon: f32,
    mask: Option<Mask>,
}

/// Values that the backward pass needs.
#[derive(Debug, Clone)]
struct Saved {
    /// `(x − mean) / deviation`, with the shape of `x`.
    normalized: Values,
    /// The standard deviation of each row.
    deviations: Vec<f32>,
    weight: Values,
    mask: Option<Mask>,
}

impl Norm {
    /// Checks that the residual has the shape of `x`, and that weight and bias have the width of its rows.
    fn check(x: &Values, residual: Option<&Values>, affine: [&Values; 2]) {
        let (_, width) = x.rows();
        assert!(residual.is_none_or(|residual| residual.shape() == x.shape()), "the residual must have the shape of x");
        assert!(affine.iter().all(|values| values.slice().len() == width), "weight and bias must have the width of x");
    }

    /// The result, and the values that the backward pass needs.
    fn pass(&self, x: Values, residual: Option<Values>, weight: Values, bias: Values) -> (Values, Saved) {
        Self::check(&x, residual.as_ref(), [&weight, &bias]);
        let (shape, (rows, width)) = (x.shape(), x.rows());
        let (w, b) = (weight.slice(), bias.slice());
        let (source, added) = (x.slice(), residual.as_ref().map(Values::slice));
        let mut deviations = vec![0f32; rows];
        let mut normalized = Vec::new();
        // SAFETY: the loop writes every row of both.
        let result = unsafe {
            written(rows * width, |result| {
                normalized = written(rows * width, |normalized| {
                    let blocks = result.par_chunks_mut(ROWS * width).zip(normalized.par_chunks_mut(ROWS * width));
                    blocks.zip(deviations.par_chunks_mut(ROWS)).enumerate().for_each(
                        |(block, ((y, n), deviations))| {
                            let mut line = vec![0f32; width];
                            let each = y.chunks_exact_mut(width).zip(n.chunks_exact_mut(width)).zip(deviations);
                            for (i, ((y, n), deviation)) in each.enumerate() {
                                let row = block * ROWS + i;
                                let at = row * width..(row + 1) * width;
                                self.sum(row, &source[at.clone()], added.map(|added| &added[at]), &mut line);
                                *deviation = vectorized(|| normalize(&mut line, self.epsilon));
                                vectorized(|| {
                                    for (((y, x), w), b) in y.iter_mut().zip(&line).zip(w).zip(b) {
                                        y.write(x * w + b);
                                    }
                                });
                                n.write_copy_of_slice(&line);
                            }
                        },
                    );
                });
            })
        };
        let normalized = Values::new(normalized, &shape);
        (Values::new(result, &shape), Saved { normalized, deviations, weight, mask: self.mask.clone() })
    }

    /// Only the result, computed in the memory of `x`.
    fn in_place(&self, mut x: Values, residual: Option<Values>, weight: Values, bias: Values) -> Values {
        Self::check(&x, residual.as_ref(), [&weight, &bias]);
        let (_, width) = x.rows();
        let (w, b, added) = (weight.slice(), bias.slice(), residual.as_ref().map(Values::slice));
        x.slice_mut().par_chunks_mut(ROWS * width).enumerate().for_each(|(block, rows)| {
            let mut line = vec![0f32; width];
            for (i, x) in rows.chunks_exact_mut(width).enumerate() {
                let row = block * ROWS + i;
                self.sum(row, x, added.map(|added| &added[row * width..(row + 1) * width]), &mut line);
                vectorized(|| {
                    normalize(&mut line, self.epsilon);
                    for (((x, n), w), b) in x.iter_mut().zip(&line).zip(w).zip(b) {
                        *x = n * w + b;
                    }
                });
            }
        });
        x
    }

    /// Writes `x · mask + residual` of one row to `line`.
    fn sum(&self, row: usize, x: &[f32], residual: Option<&[f32]>, line: &mut [f32]) {
        match &self.mask {
            Some(mask) => {
                mask.fill(row, line);
                vectorized(|| line.iter_mut().zip(x).for_each(|(line, x)| *line *= x));
            }
            None => line.copy_from_slice(x),
        }
        if let Some(residual) = residual {
            vectorized(|| line.iter_mut().zip(residual).for_each(|(line, x)| *line += x));
        }
    }
}

/// Normalizes to mean 0 and variance 1; returns the previous standard deviation.
#[inline(always)]
fn normalize(line: &mut [f32], epsilon: f32) -> f32 {
    let width = line.len() as f32;
    let mean = sum_by(line, |x| x) / width;
    line.iter_mut().for_each(|x| *x -= mean);
    let deviation = (sum_by(line, |x| x * x) / width + epsilon).sqrt();
    let scale = 1.0 / deviation;
    line.iter_mut().for_each(|x| *x *= scale);
    deviation
}

/// Gradients of the normalized sum, the weight and the bias; the last two only if `wanted`. The first overwrites
/// `grad`.
fn backward(saved: &Saved, mut grad: Values, wanted: bool) -> (Values, Option<Values>, Option<Values>) {
    let (_, width) = grad.rows();
    let (n, w) = (saved.normalized.slice(), saved.weight.slice());
    let blocks = grad.slice_mut().par_chunks_mut(ROWS * width).zip(n.par_chunks(ROWS * width));
    let blocks = blocks.zip(saved.deviations.par_chunks(ROWS)).map(|((grad, n), deviations)| {
        let sums = if wanted { width } else { 0 };
        let (mut dw, mut db) = (vec![0f32; sums], vec![0f32; sums]);
        for ((grad, n), deviation) in grad.chunks_exact_mut(width).zip(n.chunks_exact(width)).zip(deviations) {
            vectorized(|| {
                for (((dw, db), grad), n) in dw.iter_mut().zip(&mut db).zip(&mut *grad).zip(n) {
                    *dw += *grad * n;
                    *db += *grad;
                }
                grad.iter_mut().zip(w).for_each(|(grad, w)| *grad *= w);
                let mean = sum_by(grad, |g| g) / width as f32;
                let along = sum_of_pairs(grad, n, |g, n| g * n) / width as f32;
                let scale = 1.0 / deviation;
                grad.iter_mut().zip(n).for_each(|(grad, n)| *grad = (*grad - mean - n * along) * scale);
            });
        }
        (dw, db)
    });
    let blocks: Vec<(Vec<f32>, Vec<f32>)> = blocks.collect();
    if !wanted {
        return (grad, None, None);
    }
    let (mut dw, mut db) = (vec![0f32; width], vec![0f32; width]);
    for (w, b) in blocks {
        dw.iter_mut().zip(w).for_each(|(total, x)| *total += x);
        db.iter_mut().zip(b).for_each(|(total, x)| *total += x);
    }
    (grad, Some(Values::new(dw, &[width])), Some(Values::new(db, &[width])))
}

/// The gradient times the mask.
fn masked(mask: &Mask, grad: &Values) -> Values {
    let (rows, width) = grad.rows();
    let source = grad.slice();
    let mut result = vec![0f32; rows * width];
    result.par_chunks_mut(ROWS * width).zip(source.par_chunks(ROWS * width)).enumerate().for_each(
        |(block, (result, grad))| {
            for (i, (result, grad)) in result.chunks_exact_mut(width).zip(grad.chunks_exact(width)).enumerate() {
                mask.fill(block * ROWS + i, result);
                vectorized(|| result.iter_mut().zip(grad).for_each(|(result, grad)| *result *= grad));
            }
        },
    );
    Values::new(result, &grad.shape())
}

/// Inputs: `x`, weight, bias.
impl Operation<3> for Norm {
    type Saved = Saved;

    fn forward(&self, [x, weight, bias]: [Values; 3]) -> (Values, Saved) {
        self.pass(x, None, weight, bias)
    }

    fn infer(&self, [x, weight, bias]: [Values; 3]) -> Values {
        self.in_place(x, None, weight, bias)
    }

    fn backward(saved: Saved, grad: Values, wanted: [bool; 3]) -> [Option<Values>; 3] {
        let (dx, dw, db) = backward(&saved, grad, wanted[1] || wanted[2]);
        [wanted[0].then_some(dx), dw, db]
    }
}

/// Inputs: `x`, residual, weight, bias.
impl Operation<4> for Norm {
    type Saved = Saved;

    fn forward(&self, [x, residual, weight, bias]: [Values; 4]) -> (Values, Saved) {
        self.pass(x, Some(residual), weight, bias)
    }

    fn infer(&self, [x, residual, weight, bias]: [Values; 4]) -> Values {
        self.in_place(x, Some(residual), weight, bias)
    }

    fn backward(saved: Saved, grad: Values, wanted: [bool; 4]) -> [Option<Values>; 4] {
        let (sum, dw, db) = backward(&saved, grad, wanted[2] || wanted[3]);
        let dx = wanted[0].then(|| saved.mask.as_ref().map_or_else(|| sum.clone(), |mask| masked(mask, &sum)));
        [dx, wanted[1].then_some(sum), dw, db]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::dropout::Pass;
    use burn::tensor::{Device, TensorData, module::layer_norm};

    fn tensor<const D: usize>(shape: [usize; D], seed: u32) -> Tensor<D> {
        let len = shape.iter().product::<usize>() as u32;
        let values: Vec<f32> = (0..len).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 505.0 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff()).require_grad()
    }

    fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_into_vec().unwrap()
    }

    /// Compares the result and all gradients with those of Burn's chain of operations.
    #[test]
    fn result_and_gradients_are_those_of_the_chain() {
        for (rows, width) in [(1, 1), (3, 5), (33, 64), (70, 100)] {
            let inputs =
                || (tensor([rows, width], 1), tensor([rows, width], 2), tensor([width], 3), tensor([width], 4));
            let outcome = |fused: bool| {
                let (x, residual, w, b) = inputs();
                let mut pass = Pass::step(3, 5);
                let y = if fused {
                    add_norm((x.clone(), residual.clone()), (w.clone(), b.clone()), 1e-5, pass.mask(0.3))
                } else {
                    layer_norm(pass.dropout(x.clone(), 0.3) + residual.clone(), w.clone(), Some(b.clone()), 1e-5)
                };
                let grads = (y.clone() * tensor([rows, width], 5)).sum().backward();
                [
                    numbers(y),
                    numbers(x.grad(&grads).unwrap()),
                    numbers(residual.grad(&grads).unwrap()),
                    numbers(w.grad(&grads).unwrap()),
                    numbers(b.grad(&grads).unwrap()),
                ]
            };
            for (ours, chain) in outcome(true).iter().zip(outcome(false)) {
                let scale = chain.iter().fold(1f32, |most, x| most.max(x.abs()));
                let worst = ours.iter().zip(&chain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 2e-5 * scale, "{rows} × {width}: {worst} of {scale}");
            }
        }
    }

    #[test]
    fn without_a_gradient_the_numbers_are_the_same() {
        let plain = |x: Tensor<2>| x.inner();
        let (x, residual, w, b) = (tensor([33, 70], 1), tensor([33, 70], 2), tensor([70], 3), tensor([70], 4));
        let affine = (w.clone(), b.clone());
        let tracked = add_norm((x.clone(), residual.clone()), affine, 1e-5, Pass::step(3, 5).mask(0.3));
        let bare = (plain(x), plain(residual));
        let untracked = add_norm(bare, (w.inner(), b.inner()), 1e-5, Pass::step(3, 5).mask(0.3));
        assert_eq!(numbers(tracked), numbers(untracked));
    }
}
