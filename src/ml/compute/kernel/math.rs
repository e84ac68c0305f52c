//! Vectorizable math functions, and wrappers that compile code for the processor's widest vectors.

/// Runs `work` compiled for the widest vectors that the processor supports.
///
/// The compiler does not fuse multiplications and additions here, so every width gives the same bits.
#[inline(always)]
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    vectorized_call(|work| work(), work)
}

/// Like [`vectorized`], for a function that is `#[inline(always)]`. The compiler may leave a large closure as a separate
/// function, compiled for the narrowest vectors; an `#[inline(always)]` function is always inlined.
#[inline(always)]
pub(crate) fn vectorized_call<A, R>(work: impl FnOnce(A) -> R, argument: A) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn widest<A, R>(work: impl FnOnce(A) -> R, argument: A) -> R {
            work(argument)
        }
        #[target_feature(enable = "avx2")]
        fn wide<A, R>(work: impl FnOnce(A) -> R, argument: A) -> R {
            work(argument)
        }
        let has_all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if has_all {
            // SAFETY: the processor supports these features.
            return unsafe { widest(work, argument) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor supports the feature.
            return unsafe { wide(work, argument) };
        }
    }
    work(argument)
}

/// The number of independent partial sums, so that additions do not wait for each other.
const LANES: usize = 16;

/// Σ f(xᵢ) in a fixed order.
#[inline(always)]
pub(crate) fn sum_by(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += f(*x));
    }
    rest.iter().zip(&mut lanes).for_each(|(x, lane)| *lane += f(*x));
    total(lanes)
}

/// Σ f(xᵢ, yᵢ) in a fixed order.
#[inline(always)]
pub(super) fn sum_of_pairs(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x.iter().zip(y) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += f(*x, *y);
        }
    }
    for ((lane, x), y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
        *lane += f(*x, *y);
    }
    total(lanes)
}

/// The largest value; −∞ if there are no values.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane = larger(*lane, *x));
    }
    rest.iter().zip(&mut lanes).for_each(|(x, lane)| *lane = larger(*lane, *x));
    lanes.into_iter().fold(f32::NEG_INFINITY, larger)
}

#[inline(always)]
fn total(mut lanes: [f32; LANES]) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

/// `e^x` for x ≤ 0; 0 below −87. Rounds `x / ln 2` to n and multiplies 2^n by a polynomial of the remainder (Cephes).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2^23 leaves the rounded n in the lowest bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    let within = if x < -87.0 { -87.0 } else { x };
    let shifted = within * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (within - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let series =
        0.5 + r * (1.666_666_5e-1 + r * (4.166_579_6e-2 + r * (8.333_452e-3 + r * (1.398_2e-3 + r * 1.987_569_2e-4))));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000)); // 2^n
    let value = (series * r * r + r + 1.0) * power;
    if x < -87.0 { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_a_few_roundings() {
        let worst = (0..=870_000).map(|i| f64::from(i) * -1e-4).map(|x| {
            let exact = f64::from(x as f32).exp();
            ((f64::from(exp(x as f32)) - exact) / exact).abs()
        });
        let worst = worst.fold(0.0, f64::max);
        assert!(worst < 3e-7, "{worst:e}");
        assert_eq!((exp(0.0), exp(-1e30), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_take_every_element_once_whatever_the_length() {
        for len in [0, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let sum = (len * (len as i32 - 1).max(0) as usize / 2) as f32;
            assert_eq!(sum_by(&values, |x| x), sum);
            assert_eq!(sum_of_pairs(&values, &values, |x, y| 0.5 * (x + y)), sum);
            assert_eq!(largest(&values), values.last().copied().unwrap_or(f32::NEG_INFINITY));
        }
    }
}
