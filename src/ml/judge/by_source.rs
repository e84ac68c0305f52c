//! How good predictions are for the rows of each source.

use serde::{Deserialize, Serialize};

use crate::text::data::outcomes::Outcomes;
use crate::text::data::tokens::Split;

/// Quality on the rows of one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceQuality {
    pub source: String,
    pub rows: u64,
    pub accuracy: f64,
    /// The mean F1 of the labels that rows of this source have. A prediction of another label counts against the row's own.
    /// scikit-learn: `f1_score(y, p, labels=np.unique(y), average="macro")`.
    pub macro_f1: f64,
    /// The labels that its rows have, as ids.
    pub labels: Vec<u32>,
}

/// The quality per source, in the order in which the sources occur; empty if the rows have one source or do not say it.
/// `outcomes` are those of the rows of `split`, in their order.
pub fn by_source(split: &Split, outcomes: &Outcomes) -> Vec<SourceQuality> {
    let pairs: Vec<(u32, u32)> = outcomes.labels.iter().copied().zip(outcomes.predicted.iter().copied()).collect();
    let of = |(at, source): (usize, &String)| {
        let rows = split.sources().iter().zip(&pairs).filter(|(of, _)| usize::from(**of) == at);
        quality(source.clone(), &rows.map(|(_, pair)| *pair).collect::<Vec<_>>())
    };
    split.source_names().iter().enumerate().map(of).collect()
}

/// `rows`: label and prediction.
fn quality(source: String, rows: &[(u32, u32)]) -> SourceQuality {
    let mut labels: Vec<u32> = rows.iter().map(|(label, _)| *label).collect();
    labels.sort_unstable();
    labels.dedup();
    let count = |holds: &dyn Fn(&(u32, u32)) -> bool| rows.iter().filter(|row| holds(row)).count() as f64;
    let f1 = |label: u32| {
        let hits = count(&|row| *row == (label, label));
        let (support, predicted) = (count(&|row| row.0 == label), count(&|row| row.1 == label));
        2.0 * hits / (support + predicted)
    };
    SourceQuality {
        source,
        rows: rows.len() as u64,
        accuracy: count(&|row| row.0 == row.1) / (rows.len() as f64).max(1.0),
        macro_f1: labels.iter().map(|&label| f1(label)).sum::<f64>() / (labels.len() as f64).max(1.0),
        labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_judged_by_the_labels_it_has() {
        let mut split = Split::default();
        let rows = [
            ("imdb", 0, 0),
            ("tweets", 1, 1),
            ("imdb", 2, 1),
            ("imdb", 2, 2),
            ("tweets", 0, 1),
            ("tweets", 2, 2),
            ("imdb", 0, 2),
            ("tweets", 1, 0),
        ];
        for (at, (_, label, _)) in rows.iter().enumerate() {
            split.push(&[1], *label, at.to_string());
        }
        let outcomes = Outcomes {
            ids: split.ids().to_vec(),
            labels: split.labels().to_vec(),
            predicted: rows.iter().map(|row| row.2).collect(),
        };
        assert_eq!(by_source(&split, &outcomes), []);
        split.set_sources(rows.iter().map(|row| row.0));
        let all = by_source(&split, &outcomes);
        // scikit-learn 1.9.1: f1_score([0, 2, 2, 0], [0, 1, 2, 2], labels=[0, 2], average="macro") is 0.58333…, and
        // f1_score([1, 0, 2, 1], [1, 1, 2, 0], average="macro") is 0.5.
        let shown: Vec<_> =
            all.iter().map(|of| (of.source.as_str(), of.rows, of.accuracy, of.labels.clone())).collect();
        assert_eq!(shown, [("imdb", 4, 0.5, vec![0, 2]), ("tweets", 4, 0.5, vec![0, 1, 2])]);
        assert!((all[0].macro_f1 - 7.0 / 12.0).abs() < 1e-12, "{all:?}");
        assert!((all[1].macro_f1 - 0.5).abs() < 1e-12, "{all:?}");
    }
}
