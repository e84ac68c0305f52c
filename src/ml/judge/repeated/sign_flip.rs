//! The exact sign-flip test of paired differences.

/// The most pairs whose signs are all tried: 2^20 sums for each half of them.
const MOST: usize = 40;
/// Sums this close, relative to the sum of all absolute values, are equal: they differ by rounding only.
const ROUNDING: f64 = 1e-12;

/// The smallest p that the test can give for this many pairs, however clear the differences are: 2^(1 − n).
pub fn smallest_p(pairs: usize) -> f64 {
    libm::exp2(1.0 - pairs as f64).min(1.0)
}

/// The two-sided p: the share of all 2^n choices of signs that give a sum at least as far from zero as the observed one.
///
/// Fisher's randomisation test (1935): if the two methods are equally good, each difference could as well have had the
/// other sign. None for more than 40 pairs, whose signs cannot all be tried, and for none.
pub(super) fn p(differences: &[f64]) -> Option<f64> {
    if differences.is_empty() || differences.len() > MOST {
        return None;
    }
    let slack = ROUNDING * differences.iter().map(|d| d.abs()).sum::<f64>();
    let observed = differences.iter().sum::<f64>().abs();
    if observed <= slack {
        return Some(1.0);
    }
    // Every sum is one of the first half plus one of the second: sorting the latter counts them without listing all.
    let (first, second) = differences.split_at(differences.len() / 2);
    let mut others = sums(second);
    others.sort_unstable_by(f64::total_cmp);
    let above = |sum: f64| (others.len() - others.partition_point(|other| sum + other < observed - slack)) as f64;
    let count: f64 = sums(first).into_iter().map(above).sum();
    // The sums are symmetric about zero.
    Some((2.0 * count * libm::exp2(-(differences.len() as f64))).min(1.0))
}

/// The sums for all choices of signs.
fn sums(values: &[f64]) -> Vec<f64> {
    values.iter().fold(vec![0.0], |sums, value| sums.iter().flat_map(|sum| [sum + value, sum - value]).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All signs one by one.
    fn slowly(differences: &[f64]) -> f64 {
        let observed = differences.iter().sum::<f64>().abs();
        let far = |signs: &u32| {
            let sum: f64 = differences.iter().enumerate().map(|(i, d)| if signs >> i & 1 == 1 { -d } else { *d }).sum();
            sum.abs() >= observed - 1e-12
        };
        (0..1u32 << differences.len()).filter(far).count() as f64 / f64::from(1u32 << differences.len())
    }

    #[test]
    fn five_pairs_cannot_go_below_their_floor() {
        assert_eq!(smallest_p(5), 0.0625);
        assert_eq!(p(&[0.1, 0.2, 0.05, 0.3, 0.2]), Some(0.0625));
        assert_eq!((p(&[]), p(&[1.0; 41])), (None, None));
        assert_eq!(p(&[1.0; 40]), Some(smallest_p(40)));
        assert_eq!((smallest_p(1), p(&[0.3]), p(&[0.0, 0.0])), (1.0, Some(1.0), Some(1.0)));
    }

    proptest! {
        #[test]
        fn it_counts_what_trying_all_signs_counts(rows in prop::collection::vec(-20i32..20, 1..11)) {
            // Accuracies are multiples of one row, so sums tie often.
            let differences: Vec<f64> = rows.iter().map(|&row| f64::from(row) / 600.0).collect();
            prop_assert_eq!(p(&differences).unwrap(), slowly(&differences));
        }
    }
}
