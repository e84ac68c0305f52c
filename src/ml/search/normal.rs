//! The normal distribution with accurate tails, in arithmetic that is the same on every machine.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use libm::{erfc, exp, expm1, log, log1p, sqrt};

/// ln √(2π).
pub(super) const LOG_ROOT_TWO_PI: f64 = 0.918_938_533_204_672_7;
/// e to this power is below 1e-21: so many of these that a sum changes no search has.
const NEGLIGIBLE: f64 = -48.5;
/// Below this, Φ is replaced by its asymptotic series.
const FAR: f64 = -20.0;

/// Φ(x), the probability below x.
pub(super) fn below(x: f64) -> f64 {
    0.5 * erfc(-x * FRAC_1_SQRT_2)
}

/// ln Φ(x).
pub(super) fn log_below(x: f64) -> f64 {
    if x > 6.0 {
        return -below(-x); // ln(1 − ε) ≈ −ε.
    }
    if x > FAR {
        return log(below(x));
    }
    // Φ(x) ≈ φ(x)/|x| · (1 − 1/x² + 3/x⁴ − 15/x⁶ …); at −20 the terms shrink below 1e-16 before they grow again.
    let square = 1.0 / (x * x);
    let (mut term, mut sum, mut odd) = (1.0, 1.0, 1.0);
    loop {
        term *= -odd * square;
        if term.abs() < f64::EPSILON / 2.0 {
            break;
        }
        sum += term;
        odd += 2.0;
    }
    -0.5 * x * x - log(-x) - 0.5 * log(2.0 * PI) + log(sum)
}

/// ln(Φ(b) − Φ(a)), a < b, without cancellation in the tails.
pub(super) fn log_mass(a: f64, b: f64) -> f64 {
    if b <= 0.0 {
        let (upper, lower) = (log_below(b), log_below(a));
        return upper + log(-expm1(lower - upper));
    }
    if a > 0.0 {
        return log_mass(-b, -a);
    }
    log1p(-below(a) - below(-b))
}

/// The x with Φ(x) = p, 0 < p < 1, to a relative error of 1.2e-9.
///
/// Acklam (2003), "An algorithm for computing the inverse normal cumulative distribution function".
pub(super) fn quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        138.357751867269,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 6] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 5] = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1.0];
    /// Where the tails begin.
    const TAIL: f64 = 0.02425;
    if p > 1.0 - TAIL {
        return -quantile(1.0 - p);
    }
    if p < TAIL {
        let q = sqrt(-2.0 * log(p));
        return polynomial(&C, q) / polynomial(&D, q);
    }
    let q = p - 0.5;
    polynomial(&A, q * q) * q / polynomial(&B, q * q)
}

/// A polynomial, the highest coefficient first.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// ln Σ exp(xᵢ).
pub(super) fn log_sum_exp(terms: &[f64]) -> f64 {
    let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    // Most kernels are far from a point, and what they add is lost in rounding.
    let counts = terms.iter().map(|term| term - most).filter(|below| *below > NEGLIGIBLE);
    log(counts.map(exp).sum::<f64>()) + most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_inverts_the_distribution() {
        for i in 1..1000 {
            let p = f64::from(i) / 1000.0;
            assert!((below(quantile(p)) - p).abs() < 1e-9, "{p}");
        }
        assert_eq!(quantile(0.5), 0.0);
    }

    /// By mpmath with 60 digits.
    #[test]
    fn tails_are_accurate() {
        let close = |is: f64, expected: f64| assert!((is / expected - 1.0).abs() < 1e-12, "{is} {expected}");
        close(log_below(-1.0), -1.8410216450092635);
        close(log_below(-19.9), -201.9171677073326);
        close(log_below(-20.1), -205.92711840194825);
        close(log_below(-100.0), -5005.524208694205);
        close(log_below(7.0), -1.279812543886654e-12);
        close(log_mass(-1.0, 2.0), -0.2001662943244626);
        close(log_mass(3.0, 4.0), -6.631467786538225);
        close(log_mass(-30.0, -29.5), -439.4294749500187);
        close(log_mass(10.0, 11.0), -53.23131022558312);
        assert!((log_mass(-1e-3, 1e-3) + 7.13354679829352).abs() < 1e-11);
        assert!((quantile(1e-10) + 6.361340902404057).abs() < 1e-8);
    }
}
