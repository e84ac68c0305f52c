//! The differences of paired runs, and what they say about the mean difference.

use super::sign_flip;
use super::spread::Spread;
use super::student::upper_tail;

/// Differences between two methods, one for each seed that both have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Differences {
    pub spread: Spread,
    /// Two-sided p of the paired t test. None for one pair, and if all differences are equal: then their spread, by which
    /// the test measures the mean, is zero.
    pub t_p: Option<f64>,
    /// Two-sided p of the exact sign-flip test; it cannot be below [`smallest_p`](super::smallest_p).
    pub sign_flip_p: Option<f64>,
}

impl Differences {
    /// The differences of the pairs `(baseline, variant)`. None if there are no pairs, or a value is NaN or infinite.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let differences: Vec<f64> = pairs.iter().map(|(baseline, variant)| variant - baseline).collect();
        let spread = Spread::of(&differences)?;
        let t_p = spread.sd.filter(|sd| *sd > 0.0).map(|sd| {
            let n = spread.runs as f64;
            2.0 * upper_tail(spread.mean.abs() / (sd / n.sqrt()), n - 1.0)
        });
        Some(Self { spread, t_p, sign_flip_p: sign_flip::p(&differences) })
    }

    /// The mean difference in standard deviations of the differences (Cohen's d). None without a spread.
    pub fn effect(&self) -> Option<f64> {
        self.spread.sd.filter(|sd| *sd > 0.0).map(|sd| self.spread.mean / sd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_differences_have_no_t_test() {
        let same = Differences::of(&[(0.5, 0.75), (0.25, 0.5), (0.0, 0.25)]).unwrap();
        assert_eq!((same.spread.mean, same.t_p, same.sign_flip_p, same.effect()), (0.25, None, Some(0.25), None));
        let one = Differences::of(&[(0.5, 0.75)]).unwrap();
        assert_eq!((one.t_p, one.sign_flip_p, one.spread.interval), (None, Some(1.0), None));
        assert_eq!(Differences::of(&[]), None);
    }
}
