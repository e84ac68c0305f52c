//! Labels that are probably wrong, by confident learning.
//!
//! Source: Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels" (2021), as cleanlab 2
//! computes it. The probabilities must be out-of-sample: a model that was trained on a label defends it.

use super::scored::Scored;

/// What cleanlab adds to make a probability count that equals its threshold but for rounding.
const TOLERANCE: f64 = 1e-6;

/// How well the label of one row fits its probabilities; low is suspicious.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// The probability of the label.
    pub self_confidence: f64,
    /// Half of 1 plus the label's probability minus the largest of the other classes: 0 is a certain mistake, 0.5 a tie.
    pub normalized_margin: f64,
}

/// What confident learning says about all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspicion {
    /// Of each class, the mean probability of the class over the rows that have its label; None without such rows.
    pub thresholds: Vec<Option<f64>>,
    /// `[label][probable label]`: rows whose probability of a class reaches its threshold. The diagonal is at least 1.
    pub joint: Vec<Vec<u64>>,
    /// By row.
    pub quality: Vec<Quality>,
    /// The probable label of the rows whose label is suspected; None for the others.
    pub suspected: Vec<Option<u32>>,
}

impl Suspicion {
    pub fn of(scored: &Scored) -> Self {
        let thresholds = thresholds(scored);
        let mut joint = vec![vec![0; scored.classes]; scored.classes];
        let mut suspected = Vec::with_capacity(scored.len());
        for row in 0..scored.len() {
            let scores = scored.row(row);
            let label = scored.labels[row];
            let probable = probable(scores, &thresholds);
            if let Some(probable) = probable {
                joint[label as usize][probable] += 1;
            }
            // Where the model's first choice is the label, nothing speaks against it.
            let speaks = |probable: &usize| *probable != label as usize && largest(scores) != label as usize;
            suspected.push(probable.filter(speaks).map(|probable| probable as u32));
        }
        for (class, row) in joint.iter_mut().enumerate() {
            row[class] = row[class].max(1);
        }
        let quality = (0..scored.len()).map(|row| Quality::of(scored.row(row), scored.labels[row])).collect();
        Self { thresholds, joint, quality, suspected }
    }

    /// The suspected rows, the lowest normalized margin first; of equal ones the earlier first.
    pub fn ranked(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.suspected.len()).filter(|row| self.suspected[*row].is_some()).collect();
        rows.sort_by(|a, b| self.quality[*a].normalized_margin.total_cmp(&self.quality[*b].normalized_margin));
        rows
    }
}

impl Quality {
    fn of(scores: &[f32], label: u32) -> Self {
        let own = f64::from(scores[label as usize]);
        let others = scores.iter().enumerate().filter(|(class, _)| *class != label as usize);
        let rival = others.map(|(_, score)| f64::from(*score)).fold(f64::NEG_INFINITY, f64::max);
        // A single class has no rival.
        let rival = if rival.is_finite() { rival } else { 0.0 };
        Self { self_confidence: own, normalized_margin: (own - rival + 1.0) / 2.0 }
    }
}

fn thresholds(scored: &Scored) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0u64); scored.classes];
    for (row, label) in scored.labels.iter().enumerate() {
        let (sum, rows) = &mut sums[*label as usize];
        *sum += f64::from(scored.row(row)[*label as usize]);
        *rows += 1;
    }
    sums.into_iter().map(|(sum, rows)| (rows > 0).then(|| sum / rows as f64)).collect()
}

/// The class whose threshold the row reaches; of several the most probable class of all. None if it reaches none.
fn probable(scores: &[f32], thresholds: &[Option<f64>]) -> Option<usize> {
    let reached =
        |class: &usize| thresholds[*class].is_some_and(|least| f64::from(scores[*class]) >= least - TOLERANCE);
    let mut all = (0..scores.len()).filter(reached);
    let first = all.next()?;
    Some(if all.next().is_some() { largest(scores) } else { first })
}

/// Of equal scores the first.
fn largest(scores: &[f32]) -> usize {
    (1..scores.len()).fold(0, |best, class| if scores[class] > scores[best] { class } else { best })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// What cleanlab says about the same probabilities (`scripts/make_errors_fixtures.py`).
    #[derive(Deserialize)]
    struct Case {
        name: String,
        labels: Vec<u32>,
        probabilities: Vec<Vec<f32>>,
        /// 2 where no row has the label.
        thresholds: Vec<f64>,
        joint: Vec<Vec<u64>>,
        self_confidence: Vec<f64>,
        normalized_margin: Vec<f64>,
        issues: Vec<bool>,
    }

    fn scored(labels: &[u32], probabilities: &[Vec<f32>]) -> Scored {
        Scored {
            ids: labels.iter().enumerate().map(|(row, _)| format!("test:{row}")).collect(),
            labels: labels.to_vec(),
            predicted: probabilities.iter().map(|row| largest(row) as u32).collect(),
            scores: probabilities.concat(),
            classes: probabilities[0].len(),
        }
    }

    #[test]
    fn thresholds_joint_scores_and_suspects_are_those_of_cleanlab() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../../../tests/fixtures/errors/cleanlab.json")).unwrap();
        assert!(cases.len() >= 4 && cases.iter().any(|case| case.issues.contains(&true)));
        for case in cases {
            let found = Suspicion::of(&scored(&case.labels, &case.probabilities));
            let name = &case.name;
            for (ours, theirs) in found.thresholds.iter().zip(&case.thresholds) {
                assert!(ours.map_or(*theirs == 2.0, |ours| (ours - theirs).abs() < 1e-6), "{name} {ours:?} {theirs}");
            }
            assert_eq!(found.joint, case.joint, "{name}");
            for (row, quality) in found.quality.iter().enumerate() {
                assert!((quality.self_confidence - case.self_confidence[row]).abs() < 1e-6, "{name} {row}");
                assert!((quality.normalized_margin - case.normalized_margin[row]).abs() < 1e-6, "{name} {row}");
            }
            let suspected: Vec<bool> = found.suspected.iter().map(Option::is_some).collect();
            assert_eq!(suspected, case.issues, "{name}");
        }
    }

    #[test]
    fn the_least_fitting_label_comes_first() {
        let probabilities = [[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.1, 0.9], [0.01, 0.99]].map(|row| row.to_vec());
        let found = Suspicion::of(&scored(&[0, 0, 0, 1, 0], &probabilities));
        assert_eq!(found.ranked(), [4, 2]);
        assert_eq!(found.suspected, [None, None, Some(1), None, Some(1)]);
    }
}
