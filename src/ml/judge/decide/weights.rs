//! Weights of the classes that make the macro F1 of argmax p·w highest: exact coordinate ascent.

use rayon::prelude::*;

use super::counts::Counts;
use super::labelled::Labelled;

/// Rounds over all classes. Each round that goes on improves the macro F1; a handful is usual.
const ROUNDS: usize = 50;
/// Improvements below this are rounding.
const LEAST: f64 = 1e-12;
/// Break points closer than this are one: logits have 32 bits, so a weight between them would mean nothing.
const SAME: f64 = 1e-9;
/// Where between two break points a weight goes. Not in the middle: logits are often rounded to a grid, and weights that lie on
/// its middles would tie the other classes.
const INSIDE: f64 = 0.4714;
/// How far beyond the outermost break point a weight goes, in units of its logarithm.
const BEYOND: f64 = 1.0;

/// Weights w `[C]`; only their ratios count.
///
/// With all weights but one fixed, the predictions change only where w_c · p_c passes the best of the others: one break
/// point a row. One sweep over the sorted break points gives the macro F1 of every value that w_c can have, in
/// O(n log n). Classes take turns until none improves, from two starts: equal weights, and inverse frequencies. With two
/// classes the first sweep has seen every possible decision; with more the result is the best along every single weight.
///
/// `log_p` `[N, C]` are log-probabilities of the rows; the logits of `rows` are not used.
pub(super) fn best(rows: &Labelled, log_p: &[f64]) -> Vec<f64> {
    let count = |class: usize| rows.labels.iter().filter(|&&label| label as usize == class).count().max(1) as f64;
    let mean = rows.labels.len() as f64 / rows.classes as f64;
    let starts = [vec![1.0; rows.classes], (0..rows.classes).map(|class| mean / count(class)).collect()];
    let [equal, inverse] = starts.map(|start| climb(rows, log_p, start));
    if inverse.0 > equal.0 + LEAST { inverse.1 } else { equal.1 }
}

/// The macro F1 that is reached from a start, and the weights.
fn climb(rows: &Labelled, log_p: &[f64], mut weights: Vec<f64>) -> (f64, Vec<f64>) {
    let mut reached = macro_f1(rows, log_p, &logarithms(&weights));
    for _ in 0..ROUNDS {
        let before = reached;
        for class in 0..rows.classes {
            let (value, at) = sweep(rows, (log_p, &logarithms(&weights)), class);
            if value > reached + LEAST {
                let kept = std::mem::replace(&mut weights[class], at.exp());
                // The logarithm of the weight may differ from `at` in its last digit, and a row may be that close.
                let real = macro_f1(rows, log_p, &logarithms(&weights));
                if real > reached + LEAST {
                    reached = real;
                } else {
                    weights[class] = kept;
                }
            }
        }
        if reached <= before {
            break;
        }
    }
    (reached, weights)
}

/// What the rule adds to the log-probabilities.
fn logarithms(weights: &[f64]) -> Vec<f64> {
    weights.iter().map(|w| w.ln()).collect()
}

fn macro_f1(rows: &Labelled, log_p: &[f64], log_w: &[f64]) -> f64 {
    let predicted = log_p.chunks(rows.classes).map(|row| winner(row, log_w, None).0);
    Counts::of(rows.labels.iter().map(|label| *label as usize).zip(predicted), rows.classes).macro_f1()
}

/// The class with the highest log p + log w, and that sum; `but` is left out.
fn winner(log_p: &[f64], log_w: &[f64], but: Option<usize>) -> (usize, f64) {
    let mut best = (0, f64::NEG_INFINITY);
    for (class, (l, w)) in log_p.iter().zip(log_w).enumerate() {
        if Some(class) != but && (l + w > best.1 || Some(best.0) == but) {
            best = (class, l + w);
        }
    }
    best
}

/// One row as the weight of a class grows.
#[derive(Clone, Copy)]
struct Break {
    /// The logarithm of the weight from which on the row is given the class.
    at: f64,
    label: u32,
    /// What it is given below.
    other: u32,
}

/// The highest macro F1 over all weights of one class, and the logarithm of a weight well inside the widest range that has it.
fn sweep(rows: &Labelled, (log_p, log_w): (&[f64], &[f64]), class: usize) -> (f64, f64) {
    let mut breaks: Vec<Break> = log_p
        .par_chunks(rows.classes)
        .zip(rows.labels)
        .with_min_len(1024)
        .map(|(row, &label)| {
            let (other, sum) = winner(row, log_w, Some(class));
            Break { at: sum - row[class], label, other: other as u32 }
        })
        .collect();
    breaks.par_sort_unstable_by(|a, b| a.at.total_cmp(&b.at));
    let mut counts = Counts::of(breaks.iter().map(|b| (b.label as usize, b.other as usize)), rows.classes);
    let mut mean = Mean::of(&counts);
    let (Some(first), Some(last)) = (breaks.first(), breaks.last()) else { return (0.0, 0.0) };
    let mut best = Best { value: mean.value(), wide: f64::INFINITY, at: first.at - BEYOND };
    let end = last.at + BEYOND;
    let mut groups = breaks.chunk_by(|a, b| b.at - a.at <= SAME).peekable();
    while let Some(group) = groups.next() {
        for b in group {
            let touched = [class, b.other as usize];
            mean.without(&counts, touched);
            counts.shift(b.label as usize, b.other as usize, class);
            mean.with(&counts, touched);
        }
        let here = group[group.len() - 1].at;
        let (wide, at) = match groups.peek() {
            Some(next) => (next[0].at - here, here + INSIDE * (next[0].at - here)),
            None => (f64::INFINITY, end),
        };
        best.offer(mean.value(), wide, at);
    }
    (best.value, best.at)
}

struct Best {
    value: f64,
    wide: f64,
    at: f64,
}

impl Best {
    fn offer(&mut self, value: f64, wide: f64, at: f64) {
        if value > self.value + LEAST || (value > self.value - LEAST && wide > self.wide) {
            *self = Self { value: value.max(self.value), wide, at };
        }
    }
}

/// The macro F1 kept up to date as single rows move.
struct Mean {
    sum: f64,
    seen: u64,
}

impl Mean {
    fn of(counts: &Counts) -> Self {
        let all = || (0..counts.support.len()).filter(|&class| counts.is_seen(class));
        Self { sum: all().map(|class| counts.f1(class)).sum(), seen: all().count() as u64 }
    }

    fn without(&mut self, counts: &Counts, classes: [usize; 2]) {
        for class in classes.into_iter().filter(|&class| counts.is_seen(class)) {
            self.sum -= counts.f1(class);
            self.seen -= 1;
        }
    }

    fn with(&mut self, counts: &Counts, classes: [usize; 2]) {
        for class in classes.into_iter().filter(|&class| counts.is_seen(class)) {
            self.sum += counts.f1(class);
            self.seen += 1;
        }
    }

    fn value(&self) -> f64 {
        self.sum / self.seen.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::judge::decide::posteriors::posteriors;

    fn reached(rows: &Labelled, log_p: &[f64], weights: &[f64]) -> f64 {
        macro_f1(rows, log_p, &logarithms(weights))
    }

    /// Rows of few distinct logits, so that break points coincide.
    fn rows(classes: usize) -> impl Strategy<Value = (Vec<f32>, Vec<u32>)> {
        prop::collection::vec((prop::collection::vec(-6i8..6, classes), 0..classes as u32), 1..24).prop_map(|rows| {
            let logits = rows.iter().flat_map(|(row, _)| row.iter().map(|&z| f32::from(z) / 2.0)).collect();
            (logits, rows.iter().map(|(_, label)| *label).collect())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        // With two classes, only the ratio of the weights counts: every value between two break points is tried.
        #[test]
        fn with_two_classes_no_weights_are_better((logits, labels) in rows(2)) {
            let rows = Labelled { logits: &logits, labels: &labels, classes: 2 };
            let log_p = posteriors(&logits, 2, (1.0, None));
            let found = reached(&rows, &log_p, &best(&rows, &log_p));
            for step in -50..=50 {
                let ratio = (f64::from(step) / 4.0 + 0.1).exp();
                prop_assert!(reached(&rows, &log_p, &[1.0, ratio]) <= found + 1e-9);
            }
        }

        // Along every single weight nothing is better, and argmax is not better either.
        #[test]
        fn with_more_classes_no_single_weight_is_better((logits, labels) in rows(4)) {
            let rows = Labelled { logits: &logits, labels: &labels, classes: 4 };
            let log_p = posteriors(&logits, 4, (1.0, None));
            let weights = best(&rows, &log_p);
            let found = reached(&rows, &log_p, &weights);
            prop_assert!(reached(&rows, &log_p, &[1.0; 4]) <= found + 1e-9);
            for class in 0..4 {
                // All break points of this class, by brute force, and the values between them.
                let log_w: Vec<f64> = weights.iter().map(|w| w.ln()).collect();
                let mut at: Vec<f64> = log_p.chunks(4).map(|row| {
                    let others = (0..4).filter(|c| *c != class).map(|c| row[c] + log_w[c]);
                    others.fold(f64::NEG_INFINITY, f64::max) - row[class]
                }).collect();
                at.sort_by(f64::total_cmp);
                let between = at.windows(2).filter(|pair| pair[1] - pair[0] > SAME).map(|pair| (pair[0] + pair[1]) / 2.0);
                for value in between.chain([at[0] - 1.0, at[at.len() - 1] + 1.0]).collect::<Vec<_>>() {
                    let mut other = weights.clone();
                    other[class] = value.exp();
                    prop_assert!(reached(&rows, &log_p, &other) <= found + 1e-9);
                }
            }
        }
    }

    #[test]
    fn a_rare_class_that_is_never_predicted_gets_its_rows() {
        // The class 1 is always second, but closest where it is right.
        let logits = vec![2.0f32, 0.0, 2.0, 0.1, 2.0, 0.2, 2.0, 0.3, 2.0, 1.5, 2.0, 1.6];
        let labels = vec![0, 0, 0, 0, 1, 1];
        let rows = Labelled { logits: &logits, labels: &labels, classes: 2 };
        let log_p = posteriors(&logits, 2, (1.0, None));
        let weights = best(&rows, &log_p);
        assert_eq!(reached(&rows, &log_p, &weights), 1.0);
        // Inside the range that separates them: between differences of 1.7 and 0.5.
        let log_ratio = (weights[1] / weights[0]).ln();
        assert!((0.9..1.3).contains(&log_ratio), "{weights:?}");
    }
}
