//! The threshold of one class that makes the accuracy of "this class or not" highest.

use rayon::prelude::*;

/// The threshold τ that maximises the share of rows for which p ≥ τ is the same as having the label: each distinct
/// probability is a candidate, and one above all of them, which never says yes. Of equal ones the lowest wins, as in
/// scikit-learn's `TunedThresholdClassifierCV`. O(n log n).
///
/// `rows` are the probabilities of the class with whether the row has the label.
pub(super) fn best(mut rows: Vec<(f64, bool)>) -> f64 {
    rows.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut right = rows.iter().filter(|(_, has)| *has).count();
    let (mut most, mut threshold) = (None, never(&rows));
    for group in rows.chunk_by(|a, b| a.0 == b.0) {
        // The rows below this value do not get the label, all others do. The rule divides by the threshold, so it is above 0.
        let value = group[0].0;
        if value > 0.0 && most.is_none_or(|most| right > most) {
            (most, threshold) = (Some(right), value);
        }
        let has = group.iter().filter(|(_, has)| *has).count();
        right = right + group.len() - 2 * has;
    }
    if most.is_none_or(|most| right > most) { never(&rows) } else { threshold }
}

/// A threshold that no probability reaches.
fn never(rows: &[(f64, bool)]) -> f64 {
    let highest = rows.last().map_or(0.0, |row| row.0);
    if highest < 1.0 { 1.0 } else { highest.next_up() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lowest_of_the_best_thresholds_is_taken() {
        assert_eq!(best(vec![(0.1, false), (0.4, true), (0.35, false), (0.8, true)]), 0.4);
        // "Never" is right three times of four, and so is the highest value alone; equal values go together.
        assert_eq!(best(vec![(0.2, false), (0.5, true), (0.5, false), (0.6, false)]), 1.0);
        assert_eq!(best(vec![(0.2, true), (0.3, true)]), 0.2);
        assert_eq!(best(vec![(1.0, false)]), 1f64.next_up());
        // Zero cannot be a threshold.
        assert_eq!(best(vec![(0.0, true), (0.5, true)]), 0.5);
    }

    proptest! {
        #[test]
        fn no_other_threshold_is_right_more_often(rows in prop::collection::vec((0u8..9, any::<bool>()), 1..40)) {
            let rows: Vec<(f64, bool)> = rows.into_iter().map(|(p, has)| (f64::from(p + 1) / 10.0, has)).collect();
            let right = |t: f64| rows.iter().filter(|(p, has)| (*p >= t) == *has).count();
            let found = best(rows.clone());
            for candidate in (1..=10).map(|k| f64::from(k) / 10.0) {
                prop_assert!(right(candidate) <= right(found));
                // Of the probabilities that are as often right, it is the lowest.
                let is_one = rows.iter().any(|(p, _)| *p == candidate);
                prop_assert!(!is_one || right(candidate) < right(found) || found <= candidate);
            }
        }
    }
}
