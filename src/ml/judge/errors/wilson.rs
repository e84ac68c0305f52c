//! Shares that were counted: their interval, and how likely so few are by chance.

use libm::{exp, lgamma, log, log1p};

use crate::judge::significance::Interval;

/// The 97.5 % quantile of the normal distribution: 95 % lie between it and its negative.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's 95 % interval of a share: `hits` of `rows`. It stays within 0 and 1 and is not empty for shares of 0 and 1, as
/// the usual ± would be. No rows say nothing: 0 to 1.
///
/// Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927), without correction for
/// continuity; `proportion_confint(hits, rows, method="wilson")` of statsmodels.
pub fn wilson(hits: u64, rows: u64) -> Interval {
    if rows == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let (n, share) = (rows as f64, hits as f64 / rows as f64);
    let denominator = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / denominator;
    let half = Z / denominator * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    // The ends of 0 and 1 are exact but for rounding.
    let low = if hits == 0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if hits >= rows { 1.0 } else { (middle + half).min(1.0) };
    Interval { low, high }
}

/// The probability that at most `hits` of `rows` succeed if each does with probability `share`: the lower tail of the binomial
/// distribution.
pub fn at_most(hits: u64, rows: u64, share: f64) -> f64 {
    if hits >= rows || share <= 0.0 {
        return 1.0;
    }
    if share >= 1.0 {
        return 0.0;
    }
    let (n, mean) = (rows as f64, rows as f64 * share);
    let term = |k: f64| {
        let ways = lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0);
        exp(ways + k * log(share) + (n - k) * log1p(-share))
    };
    let mut sum = 0.0;
    for k in (0..=hits).rev() {
        let one = term(k as f64);
        sum += one;
        // Below the mean, each term is smaller than the one before.
        if (k as f64) < mean && one < sum * 1e-17 {
            break;
        }
    }
    sum.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // scipy 1.17: binom.cdf(hits, rows, share).
    const TAILS: [(u64, u64, f64, f64); 5] = [
        (0, 1, 0.84, 0.16000000000000003),
        (5, 20, 0.77, 1.2311274368821678e-06),
        (20, 20, 0.77, 1.0),
        (300, 400, 0.8, 0.008595072543182387),
        (33_000, 41_157, 0.81, 1.2840312795231174e-05),
    ];

    #[test]
    fn the_tail_is_that_of_scipy() {
        for (hits, rows, share, tail) in TAILS {
            let found = at_most(hits, rows, share);
            assert!((found / tail - 1.0).abs() < 1e-7, "{hits} of {rows} at {share}: {found}");
        }
        assert_eq!((at_most(3, 5, 0.0), at_most(3, 5, 1.0), at_most(0, 0, 0.5)), (1.0, 0.0, 1.0));
    }

    // statsmodels 0.15: proportion_confint(hits, rows, method="wilson").
    const KNOWN: [(u64, u64, f64, f64); 6] = [
        (0, 1, 0.0, 0.7934506856227627),
        (0, 40, 0.0, 0.08762160119728668),
        (5, 20, 0.11186170140766563, 0.4687008776187441),
        (77, 100, 0.6784561697712621, 0.8415673411969655),
        (40, 40, 0.9123783988027134, 1.0),
        (34_411, 41_157, 0.8324832605870344, 0.8396361378387099),
    ];

    #[test]
    fn the_interval_is_that_of_statsmodels() {
        for (hits, rows, low, high) in KNOWN {
            let interval = wilson(hits, rows);
            assert!((interval.low - low).abs() < 1e-12 && (interval.high - high).abs() < 1e-12, "{hits} of {rows}");
        }
    }

    #[test]
    fn the_interval_has_the_share_and_shrinks_with_more_rows() {
        let mut last = 2.0;
        for scale in 1..50 {
            let interval = wilson(3 * scale, 4 * scale);
            assert!(interval.low < 0.75 && 0.75 < interval.high);
            assert!(interval.high - interval.low < last);
            last = interval.high - interval.low;
        }
        let nothing = wilson(0, 0);
        assert_eq!((nothing.low, nothing.high), (0.0, 1.0));
    }
}
