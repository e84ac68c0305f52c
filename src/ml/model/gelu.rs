//! The activation of the feed-forward: GELU with the exact Gaussian integral, fast on the CPU.

use burn::tensor::{Tensor, TensorData, activation};
use rayon::prelude::*;

use crate::ml::device;

/// `x · Φ(x)` with `Φ` the standard normal distribution function (Hendrycks & Gimpel 2016).
///
/// Burn's own calls a scalar `erf` for each element, twice in training, which is a third of a step
/// on the CPU. Here one vectorised pass computes the value and the slope `Φ(x) + x·φ(x)` together;
/// the result is written as `x · slope + (value − x · slope)`, whose gradient by Burn's rules is the
/// slope, and which needs no second look at `x` in the backward pass.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let device = x.device();
    if !device::is_cpu(&device) {
        return activation::gelu(x);
    }
    let shape = x.shape();
    if !x.is_tracked() {
        let Some(mut values) = host(x.clone()) else { return activation::gelu(x) };
        values.par_chunks_mut(PIECE).for_each(value);
        return Tensor::from_data(TensorData::new(values, shape), &device);
    }
    let Some(mut rest) = host(x.clone().detach()) else { return activation::gelu(x) };
    let mut slopes = vec![0f32; rest.len()];
    rest.par_chunks_mut(PIECE).zip(slopes.par_chunks_mut(PIECE)).for_each(|(rest, slopes)| split(rest, slopes));
    let slopes = Tensor::from_data(TensorData::new(slopes, shape.clone()), &device);
    x * slopes + Tensor::from_data(TensorData::new(rest, shape), &device)
}

/// Elements per parallel piece.
const PIECE: usize = 1 << 14;

/// The values, copied; none where they are not f32.
fn host<const D: usize>(x: Tensor<D>) -> Option<Vec<f32>> {
    x.into_data().try_into_vec().ok()
}

/// Replaces each `x` by `x · Φ(x)`.
fn value(values: &mut [f32]) {
    #[inline(always)]
    fn run(values: &mut [f32]) {
        for x in values {
            *x *= normal(*x).0;
        }
    }
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn wide(values: &mut [f32]) {
            run(values);
        }
        // SAFETY: the processor has AVX2.
        return unsafe { wide(values) };
    }
    run(values);
}

/// Writes the slope at each `x` and replaces `x` by `x · Φ(x) − x · slope`.
fn split(values: &mut [f32], slopes: &mut [f32]) {
    #[inline(always)]
    fn run(values: &mut [f32], slopes: &mut [f32]) {
        for (x, slope) in values.iter_mut().zip(slopes) {
            let (cdf, density) = normal(*x);
            let bend = *x * density;
            *slope = cdf + bend;
            *x = -*x * bend;
        }
    }
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn wide(values: &mut [f32], slopes: &mut [f32]) {
            run(values, slopes);
        }
        // SAFETY: the processor has AVX2.
        return unsafe { wide(values, slopes) };
    }
    run(values, slopes);
}

/// `Φ(x)` within 1e-7 and `φ(x)`, from additions, multiplications and one division: compilers turn
/// it into vector code, and without fused operations each vector width gives the same bits.
///
/// `Φ` by Abramowitz & Stegun 7.1.26, which shares its exponential with `φ`.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let square = -0.5 * x * x;
    let e = exp(if square > -87.0 { square } else { -87.0 });
    let t = 1.0 / (1.0 + 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2 * x.abs());
    let series = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    let tail = 0.5 * series * e; // Φ(−|x|)
    let cdf = if x < 0.0 { tail } else { 1.0 - tail };
    (cdf, e * 0.398_942_3)
}

/// `e^x` for −87 ≤ x ≤ 0: 2^n times a polynomial of what rounding `x / ln 2` to n leaves (Cephes).
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2^23 leaves the rounded n in the lowest bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let series =
        0.5 + r * (1.666_666_5e-1 + r * (4.166_579_6e-2 + r * (8.333_452e-3 + r * (1.398_2e-3 + r * 1.987_569_2e-4))));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000)); // 2^n
    (series * r * r + r + 1.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn points() -> Vec<f32> {
        let mut points: Vec<f32> = (-120_000..=120_000).map(|i| i as f32 * 1e-4).collect();
        points.extend([-1e30, -200.0, -0.0, 1e-30, -1e-30, 200.0, 1e30]);
        points
    }

    fn both(device: &Device) -> (Vec<f32>, Vec<f32>) {
        let x: Tensor<1> = Tensor::from_data(TensorData::from(points().as_slice()), device).require_grad();
        let y = gelu(x.clone());
        let gradients = y.clone().sum().backward();
        let slopes = x.grad(&gradients).expect("a gradient").into_data();
        (y.into_data().try_into_vec().expect("f32"), slopes.try_into_vec().expect("f32"))
    }

    #[test]
    fn values_and_slopes_are_those_of_the_exact_function() {
        let (values, slopes) = both(&Device::flex().autodiff());
        let (mut worst, mut worst_slope) = (0f64, 0f64);
        for ((x, y), slope) in points().into_iter().map(f64::from).zip(values).zip(slopes) {
            let cdf = 0.5 * erfc(-x / std::f64::consts::SQRT_2);
            let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let scale = x.abs().max(1.0);
            worst = worst.max((f64::from(y) - x * cdf).abs() / scale);
            let exact = if x.abs() > 40.0 { cdf } else { cdf + x * density };
            worst_slope = worst_slope.max((f64::from(slope) - exact).abs());
        }
        println!("largest error {worst:.1e}, of the slope {worst_slope:.1e}");
        assert!(worst < 3e-7 && worst_slope < 4e-7, "{worst:e} {worst_slope:e}");
    }

    #[test]
    fn training_and_evaluation_compute_the_same() {
        let (trained, _) = both(&Device::flex().autodiff());
        let plain: Tensor<1> = Tensor::from_data(TensorData::from(points().as_slice()), &Device::flex());
        let plain: Vec<f32> = gelu(plain).into_data().try_into_vec().expect("f32");
        for ((x, a), b) in points().iter().zip(trained).zip(plain) {
            assert!((a - b).abs() <= 3e-7 * x.abs().max(1.0), "{x}: {a} {b}");
        }
    }

    /// By its continued fraction far out and its series near zero: slow and exact.
    fn erfc(x: f64) -> f64 {
        if x < 0.0 {
            return 2.0 - erfc(-x);
        }
        if x > 3.0 {
            let mut fraction = x;
            for k in (1..=60).rev() {
                fraction = x + f64::from(k) / 2.0 / fraction;
            }
            return (-x * x).exp() / std::f64::consts::PI.sqrt() / fraction;
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..100 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        1.0 - sum * 2.0 / std::f64::consts::PI.sqrt()
    }
}
