//! How large a difference a paired t test on so many pairs can find.

use super::spread::ASIDE;
use super::student::{critical, normal};

/// The probability of finding a difference, below which it counts as too small for the number of pairs. The usual choice.
pub const POWER: f64 = 0.8;
/// The most pairs that are proposed: more runs are hardly ever trained, and a smaller difference hardly matters.
const MOST: usize = 1000;
/// Intervals of Simpson's rule; with these the power is accurate to 1e-9, for two pairs too.
const INTERVALS: usize = 4000;

/// The smallest mean difference, in standard deviations of the differences, that a two-sided paired t test at the 5 %
/// level finds with a probability of 80 %. None for fewer than two pairs.
pub fn detectable(pairs: usize) -> Option<f64> {
    if pairs < 2 {
        return None;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while power(high, pairs) < POWER {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if power(middle, pairs) < POWER { low = middle } else { high = middle }
    }
    Some(high)
}

/// The fewest pairs that find a mean difference of so many standard deviations with a probability of 80 %. None if a
/// thousand are too few.
pub fn pairs_needed(effect: f64) -> Option<usize> {
    let effect = effect.abs();
    if !effect.is_finite() || power(effect, MOST) < POWER {
        return None;
    }
    let (mut few, mut enough) = (1, MOST);
    while enough - few > 1 {
        let middle = usize::midpoint(few, enough);
        if power(effect, middle) < POWER { few = middle } else { enough = middle }
    }
    Some(enough)
}

/// The probability that a two-sided paired t test at the 5 % level rejects, if the mean difference is `effect` standard
/// deviations.
///
/// P(|T| > t) for T noncentral with δ = effect · √n: the mean of P(|Z + δ| > t·s) over s = √(χ²(ν) / ν), by Simpson's rule.
fn power(effect: f64, pairs: usize) -> f64 {
    let n = pairs as f64;
    let freedom = n - 1.0;
    let (limit, shift) = (critical(ASIDE, freedom), effect * n.sqrt());
    let constant = libm::log(2.0) + freedom / 2.0 * libm::log(freedom / 2.0) - libm::lgamma(freedom / 2.0);
    let at = |s: f64| {
        let density = match freedom > 1.0 {
            true if s <= 0.0 => 0.0,
            true => libm::exp(constant + (freedom - 1.0) * libm::log(s) - freedom * s * s / 2.0),
            false => libm::exp(constant - s * s / 2.0),
        };
        density * (normal(shift - limit * s) + normal(-shift - limit * s))
    };
    // s has a standard deviation of about 1 / √(2ν); what lies beyond twelve of them is below 1e-20.
    let reach = 12.0 / (2.0 * freedom).sqrt();
    let (low, high) = ((1.0 - reach).max(0.0), 1.0 + reach);
    let step = (high - low) / INTERVALS as f64;
    let weight = |i: usize| match i {
        0 | INTERVALS => 1.0,
        odd if odd % 2 == 1 => 4.0,
        _ => 2.0,
    };
    (0..=INTERVALS).map(|i| weight(i) * at(low + step * i as f64)).sum::<f64>() * step / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_difference_the_test_rejects_at_its_level() {
        for pairs in [2, 3, 5, 10, 100, 1000] {
            assert!((power(0.0, pairs) - 0.05).abs() < 1e-9, "{pairs}: {}", power(0.0, pairs));
        }
    }

    #[test]
    fn the_pairs_needed_are_the_first_that_suffice() {
        for effect in [0.1, 0.3, 0.9, 1.69, 4.0, 30.0] {
            let pairs = pairs_needed(effect).unwrap();
            assert!(power(effect, pairs) >= POWER && (pairs == 2 || power(effect, pairs - 1) < POWER), "{effect}");
        }
        assert_eq!((pairs_needed(0.0), pairs_needed(f64::INFINITY), detectable(1)), (None, None, None));
        assert_eq!((pairs_needed(1e9), pairs_needed(-1.69)), (Some(2), pairs_needed(1.69)));
    }
}
