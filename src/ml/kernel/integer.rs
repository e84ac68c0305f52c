//! The affine layer in integers.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::matmul::{Matrix, Target, matmul};
use super::operation::{Operation, apply1};
use super::values::{Values, written};
use crate::ml::int8::Layer;

/// `x·W + b` with `W` and `x` in integers: `x` `[N, in]`, `bias` `[out]` → `[N, out]`
///
/// Gradients go straight through the rounding (Bengio et al. 2013), and there are none of weight and bias.
pub fn integer_linear(x: Tensor<2>, layer: &Arc<Layer>, bias: Tensor<1>) -> Tensor<2> {
    let bias = bias.into_data().try_into_vec().unwrap_or_default();
    apply1(IntegerLinear { layer: layer.clone(), bias }, x)
}

#[derive(Debug, Clone)]
struct IntegerLinear {
    layer: Arc<Layer>,
    bias: Vec<f32>,
}

impl Operation<1> for IntegerLinear {
    type Saved = Arc<Layer>;

    fn forward(&self, inputs: [Values; 1]) -> (Values, Arc<Layer>) {
        (self.infer(inputs), self.layer.clone())
    }

    fn infer(&self, [x]: [Values; 1]) -> Values {
        let (rows, _) = x.rows();
        Values::new(self.layer.forward(x.slice(), &self.bias), &[rows, self.bias.len()])
    }

    fn backward(layer: Arc<Layer>, grad: Values, wanted: [bool; 1]) -> [Option<Values>; 1] {
        let ((rows, outputs), inputs) = (grad.rows(), layer.weight.inputs());
        let dx = || {
            let weight = layer.weight.to_floats();
            let (dy, weight) = (Matrix::new(grad.slice(), rows, outputs), Matrix::new(&weight, inputs, outputs));
            // SAFETY: a product writes all of its target.
            let values = unsafe {
                written(rows * inputs, |dx| matmul(dy, weight.transposed(), Target::write(dx, rows, inputs), 1.0))
            };
            Values::new(values, &[rows, inputs])
        };
        [wanted[0].then(dx)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::int8::{Rounding, Weight};
    use burn::tensor::{Device, TensorData};

    #[test]
    fn results_are_close_to_floats_and_gradients_those_of_the_rounded_weight() {
        let (rows, inputs, outputs) = (5, 70, 33);
        let device = Device::flex().autodiff();
        let numbers = |len: usize, step: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * step) % 255) as f32 / 127.0 - 1.0).collect()
        };
        let q: Vec<i8> = numbers(outputs * inputs, 89).iter().map(|v| (v * 127.0) as i8).collect();
        let weight = Weight::pack(&q, &vec![0.01; outputs], inputs);
        let floats = Tensor::<2>::from_data(TensorData::new(weight.to_floats(), [inputs, outputs]), &device);
        let layer = Arc::new(Layer { weight: weight.into(), rounding: Rounding::Token16 });
        let x =
            Tensor::<2>::from_data(TensorData::new(numbers(rows * inputs, 7), [rows, inputs]), &device).require_grad();
        let bias = Tensor::<1>::from_data(TensorData::new(numbers(outputs, 3), [outputs]), &device);
        let ours = integer_linear(x.clone(), &layer, bias.clone());
        let exact = x.clone().matmul(floats) + bias.unsqueeze();
        let gradient = |y: &Tensor<2>| x.grad(&y.clone().powi_scalar(2).sum().backward()).expect("a gradient");
        let values = |x: Tensor<2>| -> Vec<f32> { x.into_data().try_into_vec().expect("f32") };
        for (a, b) in [(ours.clone(), exact.clone()), (gradient(&ours), gradient(&exact))] {
            let (a, b) = (values(a), values(b));
            let largest = b.iter().fold(0f32, |largest, b| largest.max(b.abs()));
            let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3 * largest, "{worst} {largest}");
        }
    }
}
