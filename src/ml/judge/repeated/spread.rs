//! Mean, standard deviation, range and interval of the values of several runs.

use super::student::critical;
use crate::judge::significance::Interval;

/// Share of the distribution above the interval, and as much below it.
pub(super) const ASIDE: f64 = 0.025;
/// Values that differ by less than this share of the largest differ by rounding only.
const ROUNDING: f64 = 1e-13;

/// What several runs gave. The runs are a sample: the standard deviation divides by n − 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub runs: usize,
    pub mean: f64,
    /// None for one run.
    pub sd: Option<f64>,
    pub min: f64,
    pub max: f64,
    /// The 95 % interval of the mean: mean ± t · sd / √n, with the quantile of Student's t (1908) with n − 1 degrees of
    /// freedom. None for one run.
    pub interval: Option<Interval>,
}

impl Spread {
    /// None if there are no values, or one is NaN or infinite.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || !values.iter().all(|value| value.is_finite()) {
            return None;
        }
        let runs = values.len();
        let (min, max) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
        // Otherwise the sum of equal values may round, and their standard deviation would not be zero.
        let is_constant = max - min <= ROUNDING * min.abs().max(max.abs());
        let n = runs as f64;
        let mean = if is_constant { values[0] } else { (values.iter().sum::<f64>() / n).clamp(min, max) };
        let squares = || values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
        let sd = (runs > 1).then(|| if is_constant { 0.0 } else { (squares() / (n - 1.0)).sqrt() });
        let interval = sd.map(|sd| {
            let half = critical(ASIDE, n - 1.0) * sd / n.sqrt();
            Interval { low: mean - half, high: mean + half }
        });
        Some(Self { runs, mean, sd, min, max, interval })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_no_spread_and_one_has_none_to_show() {
        let same = Spread::of(&[0.1 + 0.2, 0.3, 0.3]).unwrap();
        assert_eq!((same.sd, same.interval.map(|i| i.low == i.high)), (Some(0.0), Some(true)));
        let one = Spread::of(&[0.3]).unwrap();
        assert_eq!((one.runs, one.mean, one.sd, one.interval), (1, 0.3, None, None));
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn the_standard_deviation_divides_by_one_less_than_the_runs() {
        let spread = Spread::of(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!((spread.mean, spread.min, spread.max), (2.5, 1.0, 4.0));
        assert!((spread.sd.unwrap() - (5.0f64 / 3.0).sqrt()).abs() < 1e-15);
    }
}
