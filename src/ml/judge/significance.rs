//! Tests whether two models differ by more than chance on the same rows: McNemar's test and a bootstrap interval.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, ensure};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use crate::text::data::outcomes::Outcomes;

/// With fewer disagreements than this, McNemar's test is computed exactly.
///
/// The χ² distribution is an approximation for large counts; 25 is the usual rule of thumb.
const FEW: u64 = 25;

/// Draws of the bootstrap. With this many, the ends of the interval are accurate to about a hundredth of its width.
const RESAMPLES: usize = 10_000;
/// Every comparison draws the same rows.
const SEED: u64 = 0;
/// Share of the draws outside the interval, half on each side.
const OUTSIDE: f64 = 0.05;

/// How often each of two models was right and the other wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paired {
    rows: u64,
    /// Rows that only the first model got right.
    pub lost: u64,
    /// Rows that only the second model got right.
    pub gained: u64,
}

/// The ends of an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Paired {
    /// Pair the rows by id. Both must have the same rows and labels; the order may differ.
    pub fn of(first: &Outcomes, second: &Outcomes) -> Result<Self> {
        let order = alignment(first, second)?;
        let mut paired = Self { rows: order.len() as u64, lost: 0, gained: 0 };
        for (row, &other) in order.iter().enumerate() {
            let label = first.labels[row];
            match (first.predicted[row] == label, second.predicted[other] == label) {
                (true, false) => paired.lost += 1,
                (false, true) => paired.gained += 1,
                _ => {}
            }
        }
        Ok(paired)
    }

    /// Accuracy of the second model minus that of the first.
    pub fn change(&self) -> f64 {
        (self.gained as f64 - self.lost as f64) / self.rows as f64
    }

    /// The probability of a disagreement at least this lopsided if both models were equally good.
    ///
    /// McNemar (1947). Exact and two-sided, 2·P(X ≤ min), X ~ Binomial(n, ½), for fewer than 25 disagreements n; for more,
    /// χ² with one degree of freedom and Edwards' (1948) continuity correction, (|lost − gained| − 1)² / n.
    pub fn mcnemar(&self) -> f64 {
        let n = self.lost + self.gained;
        let difference = self.lost.abs_diff(self.gained);
        if difference == 0 {
            return 1.0;
        }
        if n < FEW {
            let (mut ways, mut tail) = (1u64, 0u64); // C(n, k), below 2^25.
            for k in 0..=self.lost.min(self.gained) {
                tail += ways;
                ways = ways * (n - k) / (k + 1);
            }
            return (2.0 * tail as f64 / (1u64 << n) as f64).min(1.0);
        }
        let corrected = (difference - 1) as f64;
        // The survival function of χ²(1) is erfc(√(x/2)). libm's is the same on every machine.
        libm::erfc((corrected * corrected / n as f64 / 2.0).sqrt())
    }

    /// The 95 % confidence interval of the change: the percentile bootstrap (Efron, 1979) over pairs of results.
    ///
    /// Draws as many rows as there are, with replacement, 10,000 times. The ends are the 2.5th and 97.5th percentile of
    /// the changes. A row counts −1, 0 or +1, so drawing needs no list of rows, and sums of integers are the same on
    /// every machine.
    pub fn interval(&self) -> Interval {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut sums: Vec<i64> = (0..RESAMPLES).map(|_| self.resample(&mut rng)).collect();
        sums.sort_unstable();
        let aside = (RESAMPLES as f64 * OUTSIDE / 2.0) as usize;
        let change = |sum: i64| sum as f64 / self.rows as f64;
        Interval { low: change(sums[aside]), high: change(sums[RESAMPLES - 1 - aside]) }
    }

    /// Gained minus lost among as many rows as there are, drawn with replacement.
    fn resample(&self, rng: &mut ChaCha8Rng) -> i64 {
        let mut sum = 0;
        for _ in 0..self.rows {
            // Uniform below `rows`, with a bias of at most 2^-64 per row.
            let row = ((u128::from(rng.next_u64()) * u128::from(self.rows)) >> 64) as u64;
            if row < self.lost {
                sum -= 1;
            } else if row < self.lost + self.gained {
                sum += 1;
            }
        }
        sum
    }
}

/// For each row of the first, its position in the second. Both must have the same rows and labels; the order may differ.
pub fn alignment(first: &Outcomes, second: &Outcomes) -> Result<Vec<usize>> {
    let (rows, others) = (first.ids.len(), second.ids.len());
    ensure!(rows == others, "one has {rows} rows, the other {others}");
    ensure!(rows > 0, "they have no rows");
    // The usual case: both scored the same split of the same corpus.
    let order: Vec<usize> = match first.ids == second.ids {
        true => (0..rows).collect(),
        false => order(&first.ids, &second.ids)?,
    };
    for (row, &other) in order.iter().enumerate() {
        ensure!(first.labels[row] == second.labels[other], "row `{}` has a different label in each", first.ids[row]);
    }
    Ok(order)
}

/// The position of each of `ids` in `others`.
fn order(ids: &[String], others: &[String]) -> Result<Vec<usize>> {
    let places: HashMap<&str, usize> = others.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    let distinct: HashSet<&String> = ids.iter().collect();
    ensure!(places.len() == others.len() && distinct.len() == ids.len(), "ids repeat and the order differs");
    ids.iter()
        .map(|id| places.get(id.as_str()).copied().ok_or(id))
        .collect::<Result<_, _>>()
        .map_err(|id| anyhow::anyhow!("only one of them has row `{id}`"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paired(rows: u64, lost: u64, gained: u64) -> Paired {
        Paired { rows, lost, gained }
    }

    fn outcomes(ids: &[&str], labels: &[u32], predicted: &[u32]) -> Outcomes {
        let ids = ids.iter().map(|&id| id.to_owned()).collect();
        Outcomes { ids, labels: labels.to_vec(), predicted: predicted.to_vec() }
    }

    // SciPy 1.17: min(1, 2·binom.cdf(min(b, c), b + c, 0.5)), and chi2.sf((|b − c| − 1)²/(b + c), 1) from 25 on.
    #[test]
    fn mcnemar_is_scipys() {
        for (lost, gained, p) in [
            (0, 0, 1.0),
            (0, 1, 1.0),
            (1, 5, 0.21875),
            (2, 9, 0.0654296875),
            (10, 12, 0.8318119049072266),
            (3, 21, 0.0002771615982055664),
            (0, 24, 1.1920928955078125e-07),
            (12, 13, 1.0),
            (10, 30, 0.002663119259138558),
            (59, 6, 1.1199327149542469e-10),
            (50, 90, 0.0009803655604421037),
            (120, 121, 1.0),
            (150, 150, 1.0),
            (200, 300, 9.53693139989851e-06),
        ] {
            let found = paired(1000, lost, gained).mcnemar();
            assert!((found - p).abs() <= 1e-12 * p, "{lost} {gained}: {found} and not {p}");
        }
    }

    #[test]
    fn rows_are_aligned_by_id() {
        let first = outcomes(&["a", "b", "c", "d"], &[0, 1, 2, 0], &[0, 1, 0, 1]);
        let second = outcomes(&["d", "c", "b", "a"], &[0, 2, 1, 0], &[0, 2, 2, 0]);
        let both = Paired::of(&first, &second).unwrap();
        assert_eq!(both, paired(4, 1, 2));
        assert_eq!(both.change(), 0.25);
        let same = outcomes(&["x", "x"], &[0, 1], &[0, 0]);
        assert_eq!(Paired::of(&same, &same).unwrap(), paired(2, 0, 0));
    }

    #[test]
    fn other_rows_are_refused() {
        let first = outcomes(&["a", "b"], &[0, 1], &[0, 0]);
        let says = |second: &Outcomes| Paired::of(&first, second).unwrap_err().to_string();
        assert_eq!(says(&outcomes(&["a"], &[0], &[0])), "one has 2 rows, the other 1");
        assert_eq!(says(&outcomes(&["a", "c"], &[0, 1], &[0, 0])), "only one of them has row `b`");
        assert_eq!(says(&outcomes(&["a", "b"], &[0, 0], &[0, 0])), "row `b` has a different label in each");
        assert_eq!(says(&outcomes(&["a", "a"], &[0, 0], &[0, 0])), "ids repeat and the order differs");
        let none = Outcomes::default();
        assert_eq!(Paired::of(&none, &none).unwrap_err().to_string(), "they have no rows");
        let twice = outcomes(&["a", "a"], &[0, 0], &[0, 0]);
        let error = Paired::of(&twice, &outcomes(&["a", "b"], &[0, 0], &[0, 0])).unwrap_err().to_string();
        assert_eq!(error, "ids repeat and the order differs");
    }

    // Percentiles of 20,000 draws by NumPy 2, in rows; another seed gives at most one row more or less.
    #[test]
    fn the_interval_is_numpys_and_the_same_everywhere() {
        for (rows, lost, gained, low, high) in
            [(600, 35, 0, -47.0, -24.0), (600, 6, 7, -6.0, 8.0), (3798, 100, 110, -18.0, 38.0), (50, 0, 1, 0.0, 3.0)]
        {
            let found = paired(rows, lost, gained).interval();
            let near = |end: f64, wanted: f64| (end * rows as f64 - wanted).abs() < 1.001;
            assert!(near(found.low, low) && near(found.high, high), "{rows} {lost} {gained}: {found:?}");
        }
        // Equal to the last bit on every machine.
        assert_eq!(paired(600, 35, 12).interval(), Interval { low: -37.0 / 600.0, high: -10.0 / 600.0 });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_test_is_a_probability_the_same_both_ways_and_falls_with_the_difference(
            lost in 0u64..300, gained in 0u64..300,
        ) {
            let p = paired(1000, lost, gained).mcnemar();
            prop_assert!((0.0..=1.0).contains(&p));
            prop_assert_eq!(p, paired(1000, gained, lost).mcnemar());
            let (few, many) = (lost.min(gained), lost.max(gained));
            // Moving one disagreement to the other side makes the models more alike.
            if few > 0 {
                prop_assert!(paired(1000, few - 1, many + 1).mcnemar() <= p);
            }
        }

        #[test]
        fn the_interval_holds_the_change_and_turns_with_the_sides(rows in 1u64..200, a in 0u64..200, b in 0u64..200) {
            let lost = a % (rows + 1);
            let both = paired(rows, lost, b % (rows - lost + 1));
            let Interval { low, high } = both.interval();
            prop_assert!(-1.0 <= low && low <= both.change() && both.change() <= high && high <= 1.0);
            prop_assert_eq!(both.interval(), Interval { low, high });
            // The draws differ, so the intervals agree only up to chance.
            let turned = paired(rows, both.gained, both.lost).interval();
            let close = 0.3 * (high - low) + 2.0 / rows as f64;
            prop_assert!((turned.low + high).abs() <= close && (turned.high + low).abs() <= close);
        }
    }
}
