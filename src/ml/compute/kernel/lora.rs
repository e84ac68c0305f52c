//! The affine layer with a frozen weight and a low-rank adapter.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::linear::{affine, gradients};
use super::math::vectorized;
use super::matmul::{Matrix, Target, matmul, matmul_here};
use super::operation::{Operation, apply5};
use super::values::{Values, written};
use crate::compute::dropout::Mask;

/// `x·W + b + scale · (x∘mask)·A·B`: `x` `[N, in]`, `weight` `[in, out]`, `bias` `[out]`, `a` `[in, r]`, `b` `[r, out]` → `[N, out]`.
///
/// Without a mask, all factors are 1. The function never allocates the whole masked input or `A·B`.
pub(crate) fn adapted(
    x: Tensor<2>,
    (weight, bias): (Tensor<2>, Tensor<1>),
    (a, b): (Tensor<2>, Tensor<2>),
    scale: f64,
    mask: Option<Mask>,
) -> Tensor<2> {
    apply5(Adapted { scale: scale as f32, mask }, (x, weight, bias, a, b))
}

/// Rows of the masked input computed at a time: 64 × 3072 values fit into a core's L2 cache.
const ROWS: usize = 64;
/// Blocks of `ROWS` per partial sum of the gradient of `A`; the partial sums are added in a fixed order.
const BLOCKS: usize = 2;

#[derive(Debug, Clone)]
struct Adapted {
    scale: f32,
    mask: Option<Mask>,
}

/// All inputs except the bias, and `low` = `(x∘mask)·A` `[N, r]`.
#[derive(Debug, Clone)]
struct Saved {
    x: Values,
    weight: Values,
    a: Values,
    b: Values,
    low: Vec<f32>,
    operation: Adapted,
}

impl Adapted {
    /// Writes the mask's factors for the rows starting at `first`, and `x` times these factors.
    fn masked(&self, first: usize, x: &[f32], width: usize, factors: &mut [f32], result: &mut [f32]) {
        match &self.mask {
            Some(mask) => {
                let rows = factors.chunks_exact_mut(width).zip(result.chunks_exact_mut(width));
                for (row, ((factors, result), x)) in rows.zip(x.chunks_exact(width)).enumerate() {
                    mask.fill(first + row, factors);
                    let each = result.iter_mut().zip(factors).zip(x);
                    vectorized(|| each.for_each(|((result, factor), x)| *result = *factor * x));
                }
            }
            None => result.copy_from_slice(x),
        }
    }
}

impl Operation<5> for Adapted {
    type Saved = Saved;

    fn forward(&self, [x, weight, bias, a, b]: [Values; 5]) -> (Values, Saved) {
        let ((rows, inputs), (_, outputs), (taken, rank)) = (x.rows(), weight.rows(), a.rows());
        assert!(taken == inputs && b.rows() == (rank, outputs), "the adapter's shape does not match its weight");
        let mut result = affine(&x, &weight, &bias);
        let source = x.slice();
        let (down, up) = (Matrix::new(a.slice(), inputs, rank), Matrix::new(b.slice(), rank, outputs));
        let mut low = vec![0f32; rows * rank];
        let blocks = result.par_chunks_mut(ROWS * outputs).zip(low.par_chunks_mut(ROWS * rank));
        let scratch = || (vec![0f32; ROWS * inputs], vec![0f32; ROWS * inputs]);
        blocks.zip(source.par_chunks(ROWS * inputs)).enumerate().for_each_init(
            scratch,
            |(factors, dropped), (block, ((y, low), x))| {
                let rows = x.len() / inputs;
                let (factors, dropped) = (&mut factors[..x.len()], &mut dropped[..x.len()]);
                let x = match self.mask {
                    Some(_) => {
                        self.masked(block * ROWS, x, inputs, factors, dropped);
                        &*dropped
                    }
                    None => x,
                };
                matmul_here(Matrix::new(x, rows, inputs), down, Target::add(low, rows, rank), 1.0);
                matmul_here(Matrix::new(low, rows, rank), up, Target::add(y, rows, outputs), self.scale);
            },
        );
        let saved = Saved { x, weight, a, b, low, operation: self.clone() };
        (Values::new(result, &[rows, outputs]), saved)
    }

    /// With dL = scale · dY·Bᵀ: dX = dY·Wᵀ + mask∘(dL·Aᵀ), dA = (x∘mask)ᵀ·dL, dB = scale · lowᵀ·dY.
    fn backward(saved: Saved, grad: Values, wanted: [bool; 5]) -> [Option<Values>; 5] {
        let Saved { x, weight, a, b, low, operation } = saved;
        let ((rows, inputs), (_, outputs), (_, rank)) = (x.rows(), weight.rows(), a.rows());
        let [dx, dw, dbias] = gradients(&x, &weight, &grad, [wanted[0], wanted[1], wanted[2]]);
        let dy = Matrix::new(grad.slice(), rows, outputs);
        let up = Matrix::new(b.slice(), rank, outputs);
        // SAFETY: a product writes all of its target.
        let dlow = unsafe {
            written(rows * rank, |dlow| {
                matmul(dy, up.transposed(), Target::write(dlow, rows, rank), operation.scale);
            })
        };
        let db = wanted[4].then(|| {
            let low = Matrix::new(&low, rows, rank).transposed();
            // SAFETY: as above.
            let db = unsafe {
                written(rank * outputs, |db| matmul(low, dy, Target::write(db, rank, outputs), operation.scale))
            };
            Values::new(db, &[rank, outputs])
        });
        let mut dx = dx;
        let mut nothing = Vec::new();
        let dx_rows: &mut [f32] = dx.as_mut().map_or(&mut nothing, Values::slice_mut);
        let partial =
            Partial { operation: &operation, x: x.slice(), dlow: &dlow, a: Matrix::new(a.slice(), inputs, rank) };
        let group = ROWS * BLOCKS;
        let sums: Vec<Vec<f32>> = match wanted[0] {
            true => dx_rows
                .par_chunks_mut(group * inputs)
                .enumerate()
                .map(|(at, dx)| partial.of(at * group, Some(dx)))
                .collect(),
            false => (0..rows.div_ceil(group)).into_par_iter().map(|at| partial.of(at * group, None)).collect(),
        };
        let da = wanted[3].then(|| {
            let mut total = vec![0f32; inputs * rank];
            sums.iter().for_each(|sum| total.iter_mut().zip(sum).for_each(|(total, x)| *total += x));
            Values::new(total, &[inputs, rank])
        });
        [dx, dw, dbias, da, db]
    }
}

/// The adapter's contribution to the gradients of its input and of `A`, a block of rows at a time.
struct Partial<'a> {
    operation: &'a Adapted,
    x: &'a [f32],
    dlow: &'a [f32],
    a: Matrix<'a>,
}

impl Partial<'_> {
    /// Adds to the rows of `dx` starting at `first`; returns those rows' part of dA `[in, r]`.
    fn of(&self, first: usize, mut dx: Option<&mut [f32]>) -> Vec<f32> {
        let (inputs, rank) = (self.a.rows(), self.a.columns());
        let last = (first + ROWS * BLOCKS).min(self.dlow.len() / rank);
        let mut da = vec![0f32; inputs * rank];
        let (mut factors, mut values) = (vec![0f32; ROWS * inputs], vec![0f32; ROWS * inputs]);
        for start in (first..last).step_by(ROWS) {
            let rows = ROWS.min(last - start);
            let x = &self.x[start * inputs..][..rows * inputs];
            let dlow = Matrix::new(&self.dlow[start * rank..][..rows * rank], rows, rank);
            let (factors, values) = (&mut factors[..rows * inputs], &mut values[..rows * inputs]);
            self.operation.masked(start, x, inputs, factors, values);
            matmul_here(Matrix::new(values, rows, inputs).transposed(), dlow, Target::add(&mut da, inputs, rank), 1.0);
            let Some(dx) = dx.as_deref_mut() else { continue };
            let dx = &mut dx[(start - first) * inputs..][..rows * inputs];
            if self.operation.mask.is_none() {
                matmul_here(dlow, self.a.transposed(), Target::add(dx, rows, inputs), 1.0);
                continue;
            }
            matmul_here(dlow, self.a.transposed(), Target::overwrite(values, rows, inputs), 1.0);
            let each = dx.iter_mut().zip(factors).zip(values);
            vectorized(|| each.for_each(|((dx, factor), value)| *dx += *factor * *value));
        }
        da
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::dropout::Pass;
    use burn::tensor::{Device, TensorData};

    fn tensor(shape: [usize; 2], seed: usize) -> Tensor<2> {
        let values: Vec<f32> =
            (0..shape[0] * shape[1]).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 505.0 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff()).require_grad()
    }

    fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_into_vec().unwrap()
    }

    /// The result and the gradients of all inputs, from the fused operation or from Burn's operations.
    fn outcome([rows, inputs, outputs, rank]: [usize; 4], p: f64, fused: bool) -> Vec<Vec<f32>> {
        let (x, weight) = (tensor([rows, inputs], 1), tensor([inputs, outputs], 2));
        let bias = tensor([1, outputs], 3);
        let (a, b) = (tensor([inputs, rank], 4), tensor([rank, outputs], 5));
        let mut pass = Pass::step(3, 5);
        let flat: Tensor<1> = bias.clone().reshape([outputs]);
        let y = if fused {
            adapted(x.clone(), (weight.clone(), flat), (a.clone(), b.clone()), 1.5, pass.mask(p))
        } else {
            let low = pass.dropout(x.clone(), p).matmul(a.clone());
            x.clone().matmul(weight.clone()) + flat.unsqueeze() + (low * 1.5).matmul(b.clone())
        };
        let grads = (y.clone() * tensor([rows, outputs], 6)).sum().backward();
        let mut all = vec![numbers(y)];
        all.extend([x, weight, bias, a, b].iter().map(|x| numbers(x.grad(&grads).unwrap())));
        all
    }

    #[test]
    fn result_and_gradients_are_those_of_the_chain() {
        for shape in [[1, 1, 1, 1], [5, 7, 3, 2], [64, 33, 20, 4], [300, 40, 65, 16]] {
            for p in [0.0, 0.3] {
                for (ours, chain) in outcome(shape, p, true).iter().zip(outcome(shape, p, false)) {
                    let largest = chain.iter().fold(1f32, |largest, x| largest.max(x.abs()));
                    let worst = ours.iter().zip(&chain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(worst < 3e-6 * largest, "{shape:?}, {p}: {worst} of {largest}");
                }
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let run = |threads| pool(threads).install(|| outcome([1024, 256, 256, 8], 0.1, true));
        assert_eq!(run(1), run(3));
    }
}
