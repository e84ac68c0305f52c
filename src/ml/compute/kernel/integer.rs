//! Affine layers with 8-bit or 4-bit integer weights.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::matmul::{Matrix, Target, matmul};
use super::operation::{Operation, apply1};
use super::values::Values;
use crate::compute::int4;
use crate::compute::int8::Layer;

/// `x·W + b` with `W` and `x` in integers, for layers of the same shape and rounding, each with its bias: `x` `[N, in]`, `bias`
/// `[out]` → `[layers · N, out]`, one result below the other.
///
/// The gradient of `x` passes straight through the rounding (Bengio et al. 2013). Weight and bias get no gradients.
pub(crate) fn integer_linear(x: Tensor<2>, layers: Vec<(Arc<Layer>, Tensor<1>)>) -> Tensor<2> {
    let part = |(layer, bias): (Arc<Layer>, Tensor<1>)| (layer, bias.into_data().try_into_vec().unwrap_or_default());
    apply1(IntegerLinear { layers: layers.into_iter().map(part).collect() }, x)
}

#[derive(Debug, Clone)]
struct IntegerLinear {
    layers: Vec<(Arc<Layer>, Vec<f32>)>,
}

impl Operation<1> for IntegerLinear {
    type Saved = Vec<Arc<Layer>>;

    fn forward(&self, inputs: [Values; 1]) -> (Values, Vec<Arc<Layer>>) {
        (self.infer(inputs), self.layers.iter().map(|(layer, _)| layer.clone()).collect())
    }

    fn infer(&self, [x]: [Values; 1]) -> Values {
        let layers: Vec<(&Layer, &[f32])> = self.layers.iter().map(|(layer, bias)| (&**layer, &bias[..])).collect();
        let (rows, outputs) = (x.rows().0, layers.first().map_or(0, |(layer, _)| layer.weight.outputs()));
        Values::new(Layer::forward_all(&layers, x.slice()), &[layers.len() * rows, outputs])
    }

    fn backward(layers: Vec<Arc<Layer>>, grad: Values, wanted: [bool; 1]) -> [Option<Values>; 1] {
        let ((all, outputs), inputs) = (grad.rows(), layers.first().map_or(0, |layer| layer.weight.inputs()));
        let rows = all / layers.len().max(1);
        let dx = || {
            let mut dx = vec![0f32; rows * inputs];
            for (layer, dy) in layers.iter().zip(grad.slice().chunks_exact((rows * outputs).max(1))) {
                add_gradient(dy, &layer.weight.to_floats(), [rows, inputs, outputs], &mut dx);
            }
            Values::new(dx, &[rows, inputs])
        };
        [wanted[0].then(dx)]
    }
}

/// `x·W + b` in floats with a 4-bit `W`: `x` `[N, in]`, `bias` `[out]` → `[N, out]`. Gradients as in [`integer_linear`].
pub(crate) fn unpacked_linear(x: Tensor<2>, weight: &Arc<int4::Weight>, bias: Tensor<1>) -> Tensor<2> {
    let bias = bias.into_data().try_into_vec().unwrap_or_default();
    apply1(UnpackedLinear { weight: weight.clone(), bias }, x)
}

#[derive(Debug, Clone)]
struct UnpackedLinear {
    weight: Arc<int4::Weight>,
    bias: Vec<f32>,
}

impl Operation<1> for UnpackedLinear {
    type Saved = Arc<int4::Weight>;

    fn forward(&self, inputs: [Values; 1]) -> (Values, Arc<int4::Weight>) {
        (self.infer(inputs), self.weight.clone())
    }

    fn infer(&self, [x]: [Values; 1]) -> Values {
        let (rows, _) = x.rows();
        Values::new(self.weight.forward(x.slice(), &self.bias), &[rows, self.bias.len()])
    }

    fn backward(weight: Arc<int4::Weight>, grad: Values, wanted: [bool; 1]) -> [Option<Values>; 1] {
        let (rows, inputs) = (grad.rows().0, weight.inputs());
        let dx = || {
            let mut dx = vec![0f32; rows * inputs];
            add_gradient(grad.slice(), &weight.to_floats(), [rows, inputs, weight.outputs()], &mut dx);
            Values::new(dx, &[rows, inputs])
        };
        [wanted[0].then(dx)]
    }
}

/// Adds `dy·Wᵀ` to `dx`: `dy` `[N, out]`, `weight` `[in, out]`, `dx` `[N, in]`.
fn add_gradient(dy: &[f32], weight: &[f32], [rows, inputs, outputs]: [usize; 3], dx: &mut [f32]) {
    let (dy, weight) = (Matrix::new(dy, rows, outputs), Matrix::new(weight, inputs, outputs));
    matmul(dy, weight.transposed(), Target::add(dx, rows, inputs), 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::int8::{Rounding, Weight};
    use burn::tensor::{Device, TensorData};

    fn numbers(len: usize, step: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * step) % 255) as f32 / 127.0 - 1.0).collect()
    }

    fn tensor<const D: usize>(shape: [usize; D], step: usize) -> Tensor<D> {
        let values = numbers(shape.iter().product(), step);
        Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff())
    }

    /// Compares the results and the gradients of `x` with those of a product in floats.
    fn check(x: Tensor<2>, ours: Tensor<2>, exact: Tensor<2>) {
        let gradient = |y: &Tensor<2>| x.grad(&y.clone().powi_scalar(2).sum().backward()).expect("a gradient");
        let values = |x: Tensor<2>| -> Vec<f32> { x.into_data().try_into_vec().expect("f32") };
        for (a, b) in [(ours.clone(), exact.clone()), (gradient(&ours), gradient(&exact))] {
            let (a, b) = (values(a), values(b));
            let largest = b.iter().fold(0f32, |largest, b| largest.max(b.abs()));
            let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3 * largest, "{worst} {largest}");
        }
    }

    fn floats(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff())
    }

    #[test]
    fn results_are_close_to_floats_and_gradients_those_of_the_rounded_weight() {
        let (rows, inputs, outputs) = (5, 70, 33);
        let x = tensor([rows, inputs], 7).require_grad();
        let layer = |step| {
            let q: Vec<i8> = numbers(outputs * inputs, step).iter().map(|v| (v * 127.0) as i8).collect();
            let weight = Weight::pack(&q, &vec![0.01; outputs], inputs);
            let (exact, bias) = (floats(weight.to_floats(), [inputs, outputs]), tensor([outputs], step));
            let layer = Arc::new(Layer { weight: weight.into(), rounding: Rounding::Token16 });
            ((layer, bias.clone()), x.clone().matmul(exact) + bias.unsqueeze())
        };
        let (layers, exact): (Vec<_>, Vec<_>) = [89, 31].map(layer).into_iter().unzip();
        check(x.clone(), integer_linear(x, layers), Tensor::cat(exact, 0));
    }

    #[test]
    fn four_bits_give_the_product_and_the_gradient_of_their_floats() {
        let (rows, inputs, outputs) = (5, 64, 33);
        let q: Vec<i8> = numbers(outputs * inputs, 89).iter().map(|v| (v * 7.0) as i8).collect();
        let weight = int4::Weight::new(int4::Weight::pack(&q), vec![0.01; outputs * 2], inputs);
        let (x, bias) = (tensor([rows, inputs], 7).require_grad(), tensor([outputs], 3));
        let exact = x.clone().matmul(floats(weight.to_floats(), [inputs, outputs])) + bias.clone().unsqueeze();
        check(x.clone(), unpacked_linear(x, &Arc::new(weight), bias), exact);
    }
}
