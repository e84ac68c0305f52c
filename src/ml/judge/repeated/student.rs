//! Student's t distribution and the standard normal distribution.

use std::f64::consts::FRAC_1_SQRT_2;

use libm::{erfc, lgamma};

/// Above this many degrees of freedom, t differs from the normal distribution by less than 1e-6 of a quantile, and the
/// difference of the two logarithms below loses digits.
const MOST: f64 = 1e6;
/// Steps of the continued fraction; one needs about the square root of the degrees of freedom.
const STEPS: usize = 10_000;

/// P(Z ≤ x) of the standard normal distribution.
pub(super) fn normal(x: f64) -> f64 {
    erfc(-x * FRAC_1_SQRT_2) / 2.0
}

/// P(T > t) of Student's t with `freedom` > 0 degrees of freedom, which need not be whole.
///
/// Half the regularised incomplete beta function I_x(ν/2, 1/2) at x = ν / (ν + t²) for t ≥ 0 (Abramowitz and Stegun
/// 26.7.1).
pub(super) fn upper_tail(t: f64, freedom: f64) -> f64 {
    if t < 0.0 {
        return 1.0 - upper_tail(-t, freedom);
    }
    let freedom = freedom.min(MOST);
    let squared = t * t;
    if squared.is_infinite() {
        return 0.0;
    }
    beta(freedom / 2.0, 0.5, (freedom / (freedom + squared), squared / (freedom + squared))) / 2.0
}

/// The t that P(T > t) = `tail` holds for; 0 < `tail` ≤ 1/2.
pub(super) fn critical(tail: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while upper_tail(high, freedom) > tail && high < f64::MAX / 2.0 {
        (low, high) = (high, 2.0 * high);
    }
    // Until no number lies between the two.
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        match upper_tail(middle, freedom) > tail {
            true => low = middle,
            false => high = middle,
        }
    }
}

/// The regularised incomplete beta function I_x(a, b); `(x, y)` with y = 1 − x, so that neither loses digits.
fn beta(a: f64, b: f64, (x, y): (f64, f64)) -> f64 {
    if x <= 0.0 || y <= 0.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let front = (lgamma(a + b) - lgamma(a) - lgamma(b) + a * libm::log(x) + b * libm::log(y)).clamp(f64::MIN, 700.0);
    let front = libm::exp(front);
    // The fraction converges quickly on one side of the mean only.
    match x < (a + 1.0) / (a + b + 2.0) {
        true => front * fraction(a, b, x) / a,
        false => 1.0 - front * fraction(b, a, y) / b,
    }
}

/// The continued fraction of the incomplete beta function, by Lentz's method (Press et al., Numerical Recipes, 6.4).
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let not_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / not_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for step in 1..=STEPS {
        let m = step as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / not_zero(1.0 + even * d);
        c = not_zero(1.0 + even / c);
        value *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / not_zero(1.0 + odd * d);
        c = not_zero(1.0 + odd / c);
        let change = d * c;
        value *= change;
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_and_two_degrees_of_freedom_have_closed_forms() {
        for t in [0.0, 0.3, 1.0, 2.5, 12.7, 1e3, 1e8] {
            let cauchy = libm::atan2(1.0, t) / std::f64::consts::PI;
            let two = {
                let root = (2.0 + t * t).sqrt();
                1.0 / (root * (root + t))
            };
            for (freedom, expected) in [(1.0, cauchy), (2.0, two)] {
                let found = upper_tail(t, freedom);
                assert!((found - expected).abs() <= 1e-13 * expected.max(1e-30), "{t} {freedom}: {found} {expected}");
            }
        }
        assert_eq!(upper_tail(f64::INFINITY, 3.0), 0.0);
        assert!((upper_tail(1.96, 1e12) - (1.0 - normal(1.96))).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn the_quantile_inverts_the_tail(tail in 1e-6f64..0.5, freedom in 0.5f64..5000.0) {
            let t = critical(tail, freedom);
            prop_assert!((upper_tail(t, freedom) - tail).abs() <= 1e-11 * tail.max(1e-3));
            prop_assert!((upper_tail(-t, freedom) + tail - 1.0).abs() < 1e-11);
        }
    }
}
