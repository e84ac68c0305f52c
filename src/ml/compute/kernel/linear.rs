//! The affine layer: fills the result with the bias, then adds the product.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::matmul::{Matrix, Target, matmul};
use super::operation::{Operation, apply3};
use super::values::{Values, written};

/// `x·W + b`: `x` `[N, in]`, `weight` `[in, out]`, `bias` `[out]` → `[N, out]`.
pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    apply3(Linear, (x, weight, bias))
}

/// Rows per parallel piece, for filling with the bias and for summing its gradient.
const ROWS: usize = 32;

#[derive(Debug, Clone, Copy)]
struct Linear;

impl Operation<3> for Linear {
    /// The input and the weight.
    type Saved = (Values, Values);

    fn forward(&self, [x, weight, bias]: [Values; 3]) -> (Values, Self::Saved) {
        let result = self.infer([x.clone(), weight.clone(), bias]);
        (result, (x, weight))
    }

    fn infer(&self, [x, weight, bias]: [Values; 3]) -> Values {
        let ((rows, _), (_, outputs)) = (x.rows(), weight.rows());
        Values::new(affine(&x, &weight, &bias), &[rows, outputs])
    }

    fn backward((x, weight): Self::Saved, grad: Values, wanted: [bool; 3]) -> [Option<Values>; 3] {
        gradients(&x, &weight, &grad, wanted)
    }
}

/// `x·W + b` in row-major order.
pub(super) fn affine(x: &Values, weight: &Values, bias: &Values) -> Vec<f32> {
    let ((rows, inputs), (taken, outputs)) = (x.rows(), weight.rows());
    assert!(taken == inputs, "the input has {inputs} columns, the weight expects {taken}");
    let bias = bias.slice();
    // SAFETY: each row is a copy of the bias.
    let mut result = unsafe {
        written(rows * outputs, |result| {
            result.par_chunks_mut(ROWS * outputs).for_each(|rows| {
                for row in rows.chunks_exact_mut(outputs) {
                    row.write_copy_of_slice(bias);
                }
            });
        })
    };
    let (x, weight) = (Matrix::new(x.slice(), rows, inputs), Matrix::new(weight.slice(), inputs, outputs));
    matmul(x, weight, Target::add(&mut result, rows, outputs), 1.0);
    result
}

/// Computes the `wanted` gradients of the input, the weight and the bias.
pub(super) fn gradients(x: &Values, weight: &Values, grad: &Values, wanted: [bool; 3]) -> [Option<Values>; 3] {
    let ((rows, inputs), (_, outputs)) = (x.rows(), weight.rows());
    let dy = Matrix::new(grad.slice(), rows, outputs);
    let product = |a: Matrix, b: Matrix, shape: [usize; 2]| {
        // SAFETY: a product writes all of its target.
        let values = unsafe {
            written(shape[0] * shape[1], |values| matmul(a, b, Target::write(values, shape[0], shape[1]), 1.0))
        };
        Values::new(values, &shape)
    };
    let dx = || product(dy, Matrix::new(weight.slice(), inputs, outputs).transposed(), [rows, inputs]);
    let dw = || product(Matrix::new(x.slice(), rows, inputs).transposed(), dy, [inputs, outputs]);
    let db = || Values::new(sum_of_rows(grad.slice(), outputs), &[outputs]);
    [wanted[0].then(dx), wanted[1].then(dw), wanted[2].then(db)]
}

/// Sums all rows by blocks in a fixed order, so that the result does not depend on the number of threads.
fn sum_of_rows(values: &[f32], width: usize) -> Vec<f32> {
    let sum = |mut sum: Vec<f32>, row: &[f32]| {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        sum
    };
    let blocks: Vec<Vec<f32>> =
        values.par_chunks(ROWS * width).map(|block| block.chunks_exact(width).fold(vec![0.0; width], sum)).collect();
    blocks.iter().fold(vec![0.0; width], |total, block| sum(total, block))
}
