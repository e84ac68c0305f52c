//! Scaled dot-product attention that holds the attention weights of at most one head per thread.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::math::{exp, largest, sum_by, sum_of_pairs, vectorized};
use super::matmul::{Matrix, Target, matmul_here};
use super::operation::{Operation, apply4};
use super::values::{Values, written};
use crate::compute::dropout::Mask;

/// `dropout(softmax(q·kᵀ / √(H/h) + bias))·v` for each of the `heads`: `q`, `k`, `v` `[B·T, H]`, `bias` `[B, 1, 1, T]` →
/// `[B·T, H]`.
///
/// `bias` gets no gradient. The forward pass keeps only two numbers per row of the weights `[B, h, T, T]`; the backward pass
/// computes the weights again, as FlashAttention does (Dao et al. 2022).
pub(crate) fn attention(qkv: [Tensor<2>; 3], bias: Tensor<4>, heads: usize, mask: Option<Mask>) -> Tensor<2> {
    let [q, k, v] = qkv;
    apply4(Attention { heads, mask }, (q, k, v, bias))
}

#[derive(Debug, Clone)]
struct Attention {
    heads: usize,
    mask: Option<Mask>,
}

#[derive(Debug, Clone)]
struct Saved {
    inputs: [Values; 4],
    /// For each query, the largest score and 1 / Σ e^(score − largest): `[B, h, T, 2]`. The usual log-sum-exp would lose the
    /// second to rounding if all keys are padding.
    sums: Vec<[f32; 2]>,
    operation: Attention,
}

/// The inputs and their sizes.
struct Heads<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    bias: &'a [f32],
    batch: usize,
    length: usize,
    hidden: usize,
    heads: usize,
    mask: Option<&'a Mask>,
}

impl<'a> Heads<'a> {
    fn new([q, k, v, bias]: &'a [Values; 4], operation: &'a Attention) -> Self {
        let shape = bias.shape();
        let (batch, length) = (shape[0], shape[3]);
        let (rows, hidden) = q.rows();
        assert!(rows == batch * length && k.rows() == q.rows() && v.rows() == q.rows());
        assert!(bias.slice().len() == batch * length, "the attention bias must have shape [B, 1, 1, T]");
        assert!(hidden.is_multiple_of(operation.heads));
        let (q, k, v, bias) = (q.slice(), k.slice(), v.slice(), bias.slice());
        Self { q, k, v, bias, batch, length, hidden, heads: operation.heads, mask: operation.mask.as_ref() }
    }

    fn width(&self) -> usize {
        self.hidden / self.heads
    }

    fn scale(&self) -> f32 {
        (self.width() as f32).powf(-0.5)
    }

    /// The offset of head `at` of `B·h` in `[B·T, H]`.
    fn start(&self, at: usize) -> usize {
        at / self.heads * self.length * self.hidden + at % self.heads * self.width()
    }

    /// Head `at` of `[B·T, H]`, `[T, H/h]`.
    fn part(&self, values: &'a [f32], at: usize) -> Matrix<'a> {
        Matrix::strided(&values[self.start(at)..], self.length, self.width(), self.hidden)
    }

    fn bias(&self, at: usize) -> &[f32] {
        &self.bias[at / self.heads * self.length..][..self.length]
    }

    /// Writes the scaled scores of head `at`, without the bias, to `scores` `[T, T]`.
    fn scores(&self, at: usize, scores: &mut Vec<f32>) {
        product_of(self.part(self.q, at), self.part(self.k, at).transposed(), self.scale(), scores);
    }

    /// Writes the dropout factors of one query of head `at` to `line`; returns false if there is no mask.
    fn mask_row(&self, at: usize, query: usize, line: &mut [f32]) -> bool {
        self.mask.inspect(|mask| mask.fill(at * self.length + query, line)).is_some()
    }
}

/// Writes `scale · a·b` to `into`.
fn product_of(a: Matrix, b: Matrix, scale: f32, into: &mut Vec<f32>) {
    let (rows, columns) = (a.rows(), b.columns());
    into.clear();
    into.reserve(rows * columns);
    matmul_here(a, b, Target::write(&mut into.spare_capacity_mut()[..rows * columns], rows, columns), scale);
    // SAFETY: the product wrote every element.
    unsafe { into.set_len(rows * columns) };
}

/// A pointer that threads share: each writes only the columns of its own heads.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: see the type.
unsafe impl Sync for Shared {}
// SAFETY: see the type.
unsafe impl Send for Shared {}

impl Shared {
    /// The target for head `at` in `[B·T, H]`.
    ///
    /// # Safety
    /// The pointer must be valid for a whole `[B·T, H]`, and no other thread may access the same head.
    unsafe fn part(self, heads: &Heads, at: usize) -> Target {
        // SAFETY: the last element of the part is in the last row, within its columns.
        unsafe { Target::strided(self.0.add(heads.start(at)), heads.length, heads.width(), heads.hidden) }
    }
}

impl Operation<4> for Attention {
    type Saved = Saved;

    fn forward(&self, inputs: [Values; 4]) -> (Values, Saved) {
        let heads = Heads::new(&inputs, self);
        let mut sums = vec![[0f32; 2]; heads.batch * heads.heads * heads.length];
        // SAFETY: each head's product writes its columns of all rows.
        let result = unsafe {
            written(heads.q.len(), |result| {
                let result = Shared(result.as_mut_ptr().cast());
                let scratch = || (Vec::new(), vec![0f32; heads.length]);
                sums.par_chunks_mut(heads.length).enumerate().for_each_init(scratch, |(weights, line), (at, sums)| {
                    heads.scores(at, weights);
                    let bias = heads.bias(at);
                    for (query, (row, sum)) in weights.chunks_exact_mut(heads.length).zip(sums).enumerate() {
                        *sum = vectorized(|| softmax(row, bias));
                        if heads.mask_row(at, query, line) {
                            vectorized(|| row.iter_mut().zip(&*line).for_each(|(weight, factor)| *weight *= factor));
                        }
                    }
                    let weights = Matrix::new(weights, heads.length, heads.length);
                    matmul_here(weights, heads.part(heads.v, at), result.part(&heads, at), 1.0);
                });
            })
        };
        let result = Values::new(result, &inputs[0].shape());
        (result, Saved { inputs, sums, operation: self.clone() })
    }

    fn backward(saved: Saved, grad: Values, _: [bool; 4]) -> [Option<Values>; 4] {
        let heads = Heads::new(&saved.inputs, &saved.operation);
        let (len, shape) = (heads.q.len(), grad.shape());
        let (mut dq, mut dk, mut dv) = (Vec::new(), Vec::new(), Vec::new());
        let targets = [&mut dq, &mut dk, &mut dv].map(|values: &mut Vec<f32>| {
            values.reserve_exact(len);
            Shared(values.as_mut_ptr())
        });
        let scratch = || (Vec::new(), Vec::new(), vec![0f32; heads.length]);
        saved.sums.par_chunks(heads.length).enumerate().for_each_init(scratch, |scratch, (at, sums)| {
            // SAFETY: only this thread accesses this head.
            let targets = unsafe { targets.map(|target| target.part(&heads, at)) };
            backward(&heads, (at, sums), heads.part(grad.slice(), at), targets, scratch);
        });
        for values in [&mut dq, &mut dk, &mut dv] {
            // SAFETY: each head's products wrote its columns of all rows.
            unsafe { values.set_len(len) };
        }
        [Some(Values::new(dq, &shape)), Some(Values::new(dk, &shape)), Some(Values::new(dv, &shape)), None]
    }
}

/// Computes the gradients of one head from `dy` `[T, H/h]`.
///
/// With the weights P and the mask M: dV = (P∘M)ᵀ·dY, dP = (dY·Vᵀ)∘M, dS = P∘(dP − Σⱼ P∘dP), dQ = dS·K, dK = dSᵀ·Q.
fn backward(
    heads: &Heads,
    (at, sums): (usize, &[[f32; 2]]),
    dy: Matrix,
    [dq, dk, dv]: [Target; 3],
    (weights, dropped, line): &mut (Vec<f32>, Vec<f32>, Vec<f32>),
) {
    let length = heads.length;
    heads.scores(at, weights);
    let bias = heads.bias(at);
    for (row, [most, scale]) in weights.chunks_exact_mut(length).zip(sums) {
        let weight = |score: f32, bias: f32| exp((score + bias) - most) * scale;
        vectorized(|| row.iter_mut().zip(bias).for_each(|(score, bias)| *score = weight(*score, *bias)));
    }
    if heads.mask.is_some() {
        dropped.clone_from(weights);
        for (query, row) in dropped.chunks_exact_mut(length).enumerate() {
            heads.mask_row(at, query, line);
            vectorized(|| row.iter_mut().zip(&*line).for_each(|(weight, factor)| *weight *= factor));
        }
        matmul_here(Matrix::new(dropped, length, length).transposed(), dy, dv, 1.0);
    } else {
        matmul_here(Matrix::new(weights, length, length).transposed(), dy, dv, 1.0);
    }
    // Reuse the buffer of the dropped-out weights for dP, then dS.
    let slopes = dropped;
    product_of(dy, heads.part(heads.v, at).transposed(), 1.0, slopes);
    for (query, (row, weights)) in slopes.chunks_exact_mut(length).zip(weights.chunks_exact(length)).enumerate() {
        let masked = heads.mask_row(at, query, line);
        vectorized(|| {
            if masked {
                row.iter_mut().zip(&*line).for_each(|(slope, factor)| *slope *= factor);
            }
            let mean = sum_of_pairs(row, weights, |slope, weight| slope * weight);
            row.iter_mut().zip(weights).for_each(|(slope, weight)| *slope = (*slope - mean) * weight);
        });
    }
    let slopes = Matrix::new(slopes, length, length);
    matmul_here(slopes, heads.part(heads.k, at), dq, heads.scale());
    matmul_here(slopes.transposed(), heads.part(heads.q, at), dk, heads.scale());
}

/// Converts scores to weights in place; returns the largest score and 1 / Σ e^(score − largest).
#[inline(always)]
fn softmax(row: &mut [f32], bias: &[f32]) -> [f32; 2] {
    row.iter_mut().zip(bias).for_each(|(score, bias)| *score += bias);
    let most = largest(row);
    row.iter_mut().for_each(|score| *score = exp(*score - most));
    let sum = sum_by(row, |x| x);
    let scale = 1.0 / sum;
    row.iter_mut().for_each(|weight| *weight *= scale);
    [most, scale]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::dropout::Pass;
    use crate::model::encoder::attention_bias;
    use burn::tensor::activation;
    use burn::tensor::{Bool, Device, TensorData};

    fn tensor(shape: [usize; 2], seed: u32) -> Tensor<2> {
        let len = (shape[0] * shape[1]) as u32;
        let values: Vec<f32> = (0..len).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 505.0 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff()).require_grad()
    }

    fn numbers(x: Tensor<2>) -> Vec<f32> {
        x.into_data().try_into_vec().unwrap()
    }

    /// The definition, in Burn's operations.
    fn chain([q, k, v]: [Tensor<2>; 3], bias: Tensor<4>, heads: usize, pass: &mut Pass) -> Tensor<2> {
        let ([rows, hidden], [batch, _, _, length]) = (q.dims(), bias.dims());
        let split = |x: Tensor<2>| x.reshape([batch, length, heads, hidden / heads]).swap_dims(1, 2);
        let scores = split(q).matmul(split(k).swap_dims(2, 3)) / ((hidden / heads) as f64).sqrt() + bias;
        let weights = pass.dropout(activation::softmax(scores, 3), 0.2);
        weights.matmul(split(v)).swap_dims(1, 2).reshape([rows, hidden])
    }

    #[test]
    fn result_and_gradients_are_those_of_the_chain() {
        for (batch, length, heads, width) in [(1, 1, 1, 1), (2, 5, 3, 4), (3, 33, 2, 8), (1, 70, 1, 16)] {
            let device = Device::flex().autodiff();
            let shape = [batch * length, heads * width];
            // The first sequence has no padding, the last of several is all padding, the others are half padding.
            let real = |i: usize| match i / length {
                0 => true,
                row if row == batch - 1 => false,
                _ => i % length < length.div_ceil(2),
            };
            let mask: Vec<bool> = (0..batch * length).map(real).collect();
            let mask: Tensor<2, Bool> = Tensor::from_data(TensorData::new(mask, [batch, length]), &device);
            let outcome = |fused: bool| {
                let inputs = [1, 2, 3].map(|seed| tensor(shape, seed));
                let (bias, mut pass) = (attention_bias(mask.clone()), Pass::step(3, 5));
                let y = if fused {
                    attention(inputs.clone(), bias, heads, pass.mask(0.2))
                } else {
                    chain(inputs.clone(), bias, heads, &mut pass)
                };
                let grads = (y.clone() * tensor(shape, 4)).sum().backward();
                let mut numbers = vec![numbers(y)];
                numbers.extend(inputs.iter().map(|x| self::numbers(x.grad(&grads).unwrap())));
                numbers
            };
            for (ours, chain) in outcome(true).iter().zip(outcome(false)) {
                let worst = ours.iter().zip(&chain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 3e-6, "{batch} × {length}: {worst}");
            }
        }
    }
}
