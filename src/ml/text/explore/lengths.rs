//! How long texts are, and what share of them a limit would cut.

use serde::{Deserialize, Serialize};

/// For each of these limits, the share of texts that it would cut is computed.
pub const LIMITS: [usize; 4] = [64, 128, 200, 256];
/// The most columns of the histogram.
const COLUMNS: usize = 48;

/// The lengths of some texts, in words or in tokens. Percentiles are nearest ranks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    pub rows: u64,
    pub mean: f64,
    pub p5: usize,
    pub p25: usize,
    pub median: usize,
    pub p75: usize,
    pub p95: usize,
    pub p99: usize,
    pub max: usize,
    pub cut: Vec<Cut>,
}

/// The texts that are longer than a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    pub at: usize,
    pub rows: u64,
    /// Of all rows, from 0 to 1.
    pub share: f64,
}

/// The lengths of all texts in one unit; by label, and by source if there are several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// `words` or `tokens`.
    pub unit: String,
    pub all: Lengths,
    /// In the order of the labels.
    pub by_label: Vec<Lengths>,
    /// In the order of the sources.
    pub by_source: Vec<Lengths>,
    pub histogram: Histogram,
}

/// How many texts have how many words or tokens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Lengths per column: the first has those below it.
    pub width: usize,
    /// The last column also has all longer texts.
    pub rows: Vec<u64>,
}

/// Whose lengths: one entry a row in each.
pub(super) struct Whose<'a> {
    pub label: &'a [u32],
    pub labels: usize,
    pub source: &'a [usize],
    pub sources: usize,
}

impl Measured {
    pub(super) fn of(unit: &str, lengths: &[usize], whose: &Whose, limits: &[usize]) -> Self {
        let groups = |of: &dyn Fn(usize) -> usize, count: usize| -> Vec<Lengths> {
            let mut groups = vec![Vec::new(); count];
            lengths.iter().enumerate().for_each(|(row, length)| groups[of(row)].push(*length));
            groups.into_iter().map(|group| Lengths::of(group, limits)).collect()
        };
        let all = Lengths::of(lengths.to_vec(), limits);
        Measured {
            unit: unit.to_owned(),
            by_label: groups(&|row| whose.label[row] as usize, whose.labels),
            by_source: groups(&|row| whose.source[row], whose.sources),
            histogram: Histogram::of(lengths, &all),
            all,
        }
    }
}

impl Lengths {
    pub(super) fn of(mut lengths: Vec<usize>, limits: &[usize]) -> Self {
        lengths.sort_unstable();
        let count = lengths.len();
        // The smallest length that `share` of the rows do not exceed.
        let rank = |share: f64| {
            let at = ((count as f64 * share).ceil() as usize).saturating_sub(1);
            lengths.get(at).copied().unwrap_or(0)
        };
        let per_row = |number: usize| if count == 0 { 0.0 } else { number as f64 / count as f64 };
        let cut = |at: &usize| {
            let rows = count - lengths.partition_point(|length| length <= at);
            Cut { at: *at, rows: rows as u64, share: per_row(rows) }
        };
        Lengths {
            rows: count as u64,
            mean: per_row(lengths.iter().sum()),
            p5: rank(0.05),
            p25: rank(0.25),
            median: rank(0.5),
            p75: rank(0.75),
            p95: rank(0.95),
            p99: rank(0.99),
            max: lengths.last().copied().unwrap_or(0),
            cut: limits.iter().map(cut).collect(),
        }
    }
}

impl Histogram {
    /// Up to the 99th percentile in equal columns, since a few very long texts would squeeze all others.
    fn of(lengths: &[usize], all: &Lengths) -> Self {
        if lengths.is_empty() {
            return Histogram::default();
        }
        let shown = if all.max > 2 * all.p99 { all.p99 + all.p99 / 4 } else { all.max };
        let steps = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500];
        let fits = |width: &usize| shown / width < COLUMNS;
        let width = steps.into_iter().find(fits).unwrap_or_else(|| (shown / COLUMNS / 1000 + 1) * 1000);
        let mut rows = vec![0; shown / width + 1];
        let last = rows.len() - 1;
        lengths.iter().for_each(|length| rows[(length / width).min(last)] += 1);
        Histogram { width, rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks_and_a_text_of_the_limit_is_not_cut() {
        let all = Lengths::of((1..=100).rev().collect(), &[90, 100]);
        assert_eq!((all.p5, all.p25, all.median, all.p75, all.p95, all.p99, all.max), (5, 25, 50, 75, 95, 99, 100));
        assert_eq!(all.mean, 50.5);
        assert_eq!(all.cut, [Cut { at: 90, rows: 10, share: 0.1 }, Cut { at: 100, rows: 0, share: 0.0 }]);
        let none = Lengths::of(Vec::new(), &[64]);
        assert_eq!((none.rows, none.max, none.cut[0].share), (0, 0, 0.0));
    }

    #[test]
    fn a_histogram_has_every_text_in_a_readable_number_of_columns() {
        for lengths in [vec![0], vec![3; 5], (0..3000).collect(), vec![1, 2, 3, 4, 100_000], vec![70_000; 9]] {
            let all = Lengths::of(lengths.clone(), &[]);
            let histogram = Histogram::of(&lengths, &all);
            assert_eq!(histogram.rows.iter().sum::<u64>(), lengths.len() as u64);
            assert!(histogram.rows.len() <= COLUMNS + 1, "{histogram:?}");
        }
    }
}
