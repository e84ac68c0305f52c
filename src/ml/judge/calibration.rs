//! How well probabilities fit the labels: calibration errors, the Brier score and the cross-entropy.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::compute::numbers::argmax;

/// Bins of the calibration errors, as in Guo et al. (2017).
pub const BINS: usize = 15;

/// How well probabilities fit the labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error (Guo et al., 2017): the mean over the rows of |accuracy − confidence| of their bin, for 15
    /// bins of equal width over the probability of the most probable label.
    pub ece: f64,
    /// The same for 15 bins of equally many rows (Nixon et al., 2019).
    pub adaptive_ece: f64,
    /// Mean over the rows of the squared distance between probabilities and label: Σ_c (p_c − y_c)², from 0 to 2 (Brier, 1950).
    pub brier: f64,
    /// Mean cross-entropy of the labels.
    pub nll: f64,
    /// The bins of equal width.
    pub bins: Vec<Bin>,
}

/// Rows of about the same confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Confidences above `low` and up to `high`.
    pub low: f64,
    pub high: f64,
    pub rows: usize,
    /// The mean probability of the most probable label; None without rows.
    pub confidence: Option<f64>,
    /// The share of rows whose most probable label is right; None without rows.
    pub accuracy: Option<f64>,
}

/// The confidence of a row, and whether its most probable label is right.
type Row = (f64, bool);

impl Calibration {
    /// `log_p` `[N, C]` are log-probabilities, `labels` `[N]`.
    pub fn of(log_p: &[f64], labels: &[u32], classes: usize) -> Result<Self> {
        ensure!(!labels.is_empty(), "there are no rows to score");
        ensure!(log_p.len() == labels.len() * classes, "{} values for {} rows", log_p.len(), labels.len());
        let (mut rows, mut brier, mut nll) = (Vec::with_capacity(labels.len()), 0.0, 0.0);
        for (row, &label) in log_p.chunks(classes).zip(labels) {
            let label = label as usize;
            ensure!(label < classes, "label {label} is out of range: there are {classes} classes");
            let best = argmax(row);
            rows.push((row[best].exp(), best == label));
            nll -= row[label];
            let squares = row.iter().enumerate().map(|(c, l)| (l.exp() - f64::from(u8::from(c == label))).powi(2));
            brier += squares.sum::<f64>();
        }
        let bins = equal_width(&rows);
        let n = labels.len() as f64;
        let gaps = bins.iter().filter_map(|bin| Some(bin.rows as f64 * (bin.accuracy? - bin.confidence?).abs()));
        Ok(Self { ece: gaps.sum::<f64>() / n, adaptive_ece: equal_mass(rows), brier: brier / n, nll: nll / n, bins })
    }
}

fn equal_width(rows: &[Row]) -> Vec<Bin> {
    let edge = |i: usize| i as f64 / BINS as f64;
    let mut all: Vec<Vec<Row>> = vec![Vec::new(); BINS];
    for row in rows {
        let bin = (1..BINS).find(|&i| row.0 <= edge(i)).map_or(BINS - 1, |i| i - 1);
        all[bin].push(*row);
    }
    let bin = |(i, rows): (usize, Vec<Row>)| {
        let mean = |sum: f64| (!rows.is_empty()).then(|| sum / rows.len() as f64);
        Bin {
            low: edge(i),
            high: edge(i + 1),
            rows: rows.len(),
            confidence: mean(rows.iter().map(|row| row.0).sum()),
            accuracy: mean(rows.iter().filter(|row| row.1).count() as f64),
        }
    };
    all.into_iter().enumerate().map(bin).collect()
}

/// Rows in the order of their confidence, in bins whose sizes differ by at most one; the first are the larger ones, as in
/// NumPy's `array_split`. Equal confidences keep the order of the rows.
fn equal_mass(mut rows: Vec<Row>) -> f64 {
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (each, more) = (rows.len() / BINS, rows.len() % BINS);
    let (mut rest, mut gaps) = (rows.as_slice(), 0.0);
    for bin in 0..BINS {
        let (these, others) = rest.split_at(each + usize::from(bin < more));
        let right = these.iter().filter(|row| row.1).count() as f64;
        gaps += (right - these.iter().map(|row| row.0).sum::<f64>()).abs();
        rest = others;
    }
    gaps / rows.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_what_is_above_their_lower_end() {
        // Confidences 0.6 (an end of a bin), 0.61 and 1.
        let p: [f64; 6] = [0.6, 0.4, 0.39, 0.61, 1.0, 0.0];
        let log_p: Vec<f64> = p.iter().map(|p| p.ln()).collect();
        let found = Calibration::of(&log_p, &[0, 0, 0], 2).unwrap();
        let counts: Vec<usize> = found.bins.iter().map(|bin| bin.rows).collect();
        assert_eq!(counts, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1]);
        assert!((found.ece - (0.4 + 0.61 + 0.0) / 3.0).abs() < 1e-12, "{found:?}");
        // Each row has a bin of its own.
        assert!((found.adaptive_ece - found.ece).abs() < 1e-12);
        assert!((found.brier - (0.32 + 2.0 * 0.61 * 0.61) / 3.0).abs() < 1e-12);
        assert_eq!((found.bins[0].confidence, found.bins[0].accuracy), (None, None));
        assert!(Calibration::of(&[], &[], 2).is_err() && Calibration::of(&log_p, &[0, 2, 0], 2).is_err());
    }
}
