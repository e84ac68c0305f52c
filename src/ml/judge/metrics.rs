//! Computes how good predictions are, and how fast a model makes them.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use burn::tensor::{Bool, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::compute::dropout::Pass;
use crate::compute::numbers::{argmax, log_softmax};
use crate::model::Model;
use crate::text::batch;
use crate::text::batch::{Batch, Padding};
use crate::text::data::tokens::Split;
use crate::text::ids::Ids;
use crate::watch::{Interrupted, Progress, Watch};

/// Quality of classification results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Share of rows whose highest logit is the label's. Of equal logits the first wins, as in `argmax`.
    pub accuracy: f64,
    pub macro_precision: f64,
    pub macro_recall: f64,
    pub macro_f1: f64,
    /// One-vs-rest area under the ROC curve: the unweighted mean over the classes that have both positive and negative
    /// rows. `None` if no class has both.
    pub macro_auc: Option<f64>,
    /// Mean cross-entropy of the labels, without smoothing or weights.
    pub loss: f64,
    pub rows: usize,
    pub per_class: Vec<ClassMetrics>,
    /// `[label][predicted]` counts.
    pub confusion: Vec<Vec<u64>>,
}

/// Quality of one class against the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    pub label: String,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub auc: Option<f64>,
    /// Number of rows with this label.
    pub support: u64,
}

impl Metrics {
    /// Compare `logits` `[N, C]` with `labels` `[N]`; C is the length of `names`.
    ///
    /// A ratio whose denominator is zero counts as 0, as scikit-learn's `zero_division=0`. The macro means are over
    /// all classes with rows or predictions, as scikit-learn's `average="macro"` takes the labels it sees.
    pub fn of(logits: &[f32], labels: &[u32], names: &[String]) -> Result<Self> {
        Self::of_decided((logits, None), labels, names)
    }

    /// The same for rows that a decision has given other labels than those of the highest logits: `predicted` `[N]`. The
    /// loss and the areas under the curves are those of the logits.
    pub fn of_decided((logits, predicted): (&[f32], Option<&[u32]>), labels: &[u32], names: &[String]) -> Result<Self> {
        let (rows, classes) = (labels.len(), names.len());
        ensure!(rows > 0, "there are no rows to score");
        ensure!(logits.len() == rows * classes, "{} logits for {rows} rows of {classes} classes", logits.len());
        ensure!(
            predicted.is_none_or(|all| all.len() == rows),
            "there are predictions for other rows than these {rows}"
        );
        if let Some(label) =
            labels.iter().chain(predicted.unwrap_or_default()).find(|&&label| label as usize >= classes)
        {
            anyhow::bail!("label {label} is out of range: the model has {classes} classes");
        }
        let mut confusion = vec![vec![0u64; classes]; classes];
        let mut probabilities = vec![Vec::with_capacity(rows); classes];
        let (mut loss, mut correct) = (0.0, 0);
        for (at, (row, &label)) in logits.chunks(classes).zip(labels).enumerate() {
            let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            let best = predicted.map_or_else(|| argmax(&row), |given| given[at] as usize);
            let log_p = log_softmax(&row);
            confusion[label as usize][best] += 1;
            correct += usize::from(best == label as usize);
            loss -= log_p[label as usize];
            probabilities.iter_mut().zip(&log_p).for_each(|(class, log_p)| class.push(log_p.exp()));
        }
        let per_class: Vec<ClassMetrics> = (0..classes)
            .map(|class| {
                let hit = confusion[class][class] as f64;
                let support: u64 = confusion[class].iter().sum();
                let predicted: u64 = confusion.iter().map(|row| row[class]).sum();
                ClassMetrics {
                    label: names[class].clone(),
                    precision: ratio(hit, predicted as f64),
                    recall: ratio(hit, support as f64),
                    f1: ratio(2.0 * hit, (support + predicted) as f64),
                    auc: auc(&probabilities[class], labels, class as u32),
                    support,
                }
            })
            .collect();
        let seen: Vec<&ClassMetrics> = (0..classes)
            .filter(|&class| confusion[class].iter().any(|&n| n > 0) || confusion.iter().any(|row| row[class] > 0))
            .map(|class| &per_class[class])
            .collect();
        let mean = |of: fn(&ClassMetrics) -> f64| seen.iter().map(|class| of(class)).sum::<f64>() / seen.len() as f64;
        let areas: Vec<f64> = per_class.iter().filter_map(|class| class.auc).collect();
        Ok(Self {
            accuracy: correct as f64 / rows as f64,
            macro_precision: mean(|class| class.precision),
            macro_recall: mean(|class| class.recall),
            macro_f1: mean(|class| class.f1),
            macro_auc: (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64),
            loss: loss / rows as f64,
            rows,
            per_class,
            confusion,
        })
    }
}

fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// Area under the ROC curve of `scores` for `class` against the rest, by ranks with ties averaged
/// (the Mann-Whitney U statistic). `None` if every row or no row has the class.
fn auc(scores: &[f64], labels: &[u32], class: u32) -> Option<f64> {
    let positives = labels.iter().filter(|&&label| label == class).count() as f64;
    let negatives = labels.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let (mut ranks, mut start) = (0.0, 0);
    while start < order.len() {
        let tie = order[start..].iter().take_while(|&&row| scores[row] == scores[order[start]]).count().max(1);
        let rank = (2 * start + tie + 1) as f64 / 2.0; // The mean of ranks start + 1 ..= start + tie.
        ranks += rank * order[start..start + tie].iter().filter(|&&row| labels[row] == class).count() as f64;
        start += tie;
    }
    Some((ranks - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}

/// A model as a function: `ids` `[B, T]`, `mask` `[B, T]` → B · C logits.
pub type Forward<'a> = &'a dyn Fn(Ids, Tensor<2, Bool>) -> Result<Vec<f32>>;

/// Turn a model into such a function, with dropout off.
pub fn forward(model: &Model) -> impl Fn(Ids, Tensor<2, Bool>) -> Result<Vec<f32>> {
    |ids, mask| {
        let data = model.forward(ids, mask, &mut Pass::Off).try_into_data()?;
        data.try_into_vec::<f32>().map_err(|error| anyhow!("cannot read the logits as f32: {error:?}"))
    }
}

/// Default number of rows per scoring batch. The last bits of a row's logits depend on it, because it decides how wide
/// the padding is: code that must reproduce logits bit by bit uses this number.
pub const SCORING_ROWS: usize = 32;

/// How to run a split through a model.
#[derive(Debug, Clone)]
pub struct Scoring<'a> {
    pub split: &'a Split,
    pub pad_id: u32,
    pub batch_size: usize,
    pub device: &'a Device,
}

impl Scoring<'_> {
    /// Logits `[N, C]` of all rows, in row order; batches hold rows of about equal length.
    pub fn logits(&self, forward: Forward, watch: &dyn Watch) -> Result<Vec<f32>> {
        let rows = self.split.len();
        let (mut out, mut done, start) = (Vec::new(), 0, Instant::now());
        for batch in batch::by_length(self.split, self.batch_size) {
            if watch.stopped() {
                return Err(Interrupted.into());
            }
            let logits = self.run(forward, &batch)?;
            let classes = logits.len() / batch.len();
            out.resize(rows * classes, 0.0);
            for (&row, logits) in batch.iter().zip(logits.chunks(classes)) {
                out[row * classes..][..classes].copy_from_slice(logits);
            }
            done += batch.len();
            let rate = Some(done as f64 / start.elapsed().as_secs_f64());
            watch.progress(Progress {
                done: done as u64,
                total: rows as u64,
                unit: "row",
                rate,
                ..Progress::default()
            });
        }
        Ok(out)
    }

    /// Measure latency at batch 1 and throughput at `batch_size`, each for at most `budget` but at least a few batches.
    ///
    /// Latency takes rows evenly from the split. Throughput groups rows by length, as scoring does.
    pub fn speed(&self, forward: Forward, budget: Duration) -> Result<Speed> {
        const WARMUP: usize = 3; // The first batches allocate buffers and choose kernels.
        const FEWEST: usize = 20; // With fewer batches, a 95th percentile means nothing.
        const MOST: usize = 500;
        let rows = self.split.len();
        ensure!(rows > 0, "there are no rows to measure the speed with");
        let taken = rows.min(MOST);
        let mut singles = (0..taken).map(|i| i * rows / taken).cycle();
        let mut latencies = Vec::new();
        let start = Instant::now();
        for i in 0..WARMUP + taken.max(FEWEST) {
            let Some(row) = singles.next() else { break };
            let single = Instant::now();
            self.run(forward, &[row])?;
            if i >= WARMUP {
                latencies.push(single.elapsed().as_secs_f64() * 1e3);
            }
            if latencies.len() >= FEWEST && start.elapsed() > budget {
                break;
            }
        }
        latencies.sort_by(f64::total_cmp);
        let batches = batch::by_length(self.split, self.batch_size);
        self.run(forward, &batches[0])?;
        // Spread the batches evenly over the lengths, so that stopping early does not measure only long rows.
        let mut order: Vec<usize> = (0..batches.len()).collect();
        order.sort_by_key(|&i| (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (mut done, start) = (0, Instant::now());
        for i in order {
            self.run(forward, &batches[i])?;
            done += batches[i].len();
            if start.elapsed() > budget {
                break;
            }
        }
        Ok(Speed {
            latency_p50_ms: percentile(&latencies, 0.50),
            latency_p95_ms: percentile(&latencies, 0.95),
            samples_per_second: done as f64 / start.elapsed().as_secs_f64(),
            batch_size: self.batch_size,
        })
    }

    fn run(&self, forward: Forward, rows: &[usize]) -> Result<Vec<f32>> {
        let (ids, mask) = Batch::collect(self.split, rows, self.pad_id, Padding::Bucketed).to_device(self.device);
        let logits = forward(ids, mask)?;
        ensure!(
            !logits.is_empty() && logits.len() % rows.len() == 0,
            "the model gave {} logits for {} rows",
            logits.len(),
            rows.len()
        );
        Ok(logits)
    }
}

/// The speed of a model on this machine. It varies from run to run, so it is kept apart from [`Metrics`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Time for one row, from host to host.
    pub latency_p50_ms: f64,
    pub latency_p95_ms: f64,
    /// Throughput with `batch_size` rows per batch.
    pub samples_per_second: f64,
    pub batch_size: usize,
}

impl Speed {
    /// A field that a record has if speed was measured.
    pub const MEASURED: &'static str = "latency_p50_ms";
}

/// The nearest-rank percentile of sorted values.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Silent;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("c{i}")).collect()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    // Expected values: scikit-learn 1.7 on the same numbers (f32 logits, softmax in f64).
    #[test]
    fn metrics_are_scikit_learns() {
        let logits = [
            [2.0, 0.5, -1.0, 0.0],
            [0.1, 0.2, 0.3, -0.4],
            [1.5, 1.5, 0.0, -2.0], // A tie: the first wins.
            [-1.0, 2.0, 0.5, 0.0],
            [0.0, 0.0, 1.0, 0.5],
            [3.0, -1.0, 0.2, 0.1],
            [0.2, 1.1, 0.9, -0.5],
            [0.7, -0.3, 2.2, 1.0],
        ];
        let labels = [0, 1, 1, 1, 2, 0, 2, 0]; // Class 3 is neither a label nor predicted.
        let m = Metrics::of(&logits.concat(), &labels, &names(4)).unwrap();
        assert!(close(m.accuracy, 0.5) && m.rows == 8);
        assert!(close(m.macro_precision, 0.5) && close(m.macro_recall, 0.5) && close(m.macro_f1, 0.4888888888888889));
        assert!(close(m.macro_auc.unwrap(), 0.8333333333333334));
        assert!(close(m.loss, 0.850535780306648));
        assert_eq!(m.confusion, [[2, 0, 1, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]);
        let classes: Vec<_> = m.per_class.iter().map(|c| (c.precision, c.recall, c.f1, c.support)).collect();
        let expected = [
            (2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 3),
            (0.5, 1.0 / 3.0, 0.4, 3),
            (1.0 / 3.0, 0.5, 0.4, 2),
            (0.0, 0.0, 0.0, 0),
        ];
        for (got, want) in classes.iter().zip(expected) {
            assert!(close(got.0, want.0) && close(got.1, want.1) && close(got.2, want.2) && got.3 == want.3, "{got:?}");
        }
        let areas: Vec<f64> = m.per_class.iter().filter_map(|class| class.auc).collect();
        assert!(areas.len() == 3 && close(areas[0], 0.7333333333333333) && close(areas[1], 0.9333333333333333));
    }

    #[test]
    fn equal_scores_share_their_ranks() {
        assert!(close(auc(&[0.5, 0.5, 0.7, 0.2, 0.7], &[1, 0, 1, 0, 0], 1).unwrap(), 2.0 / 3.0));
        assert!(close(auc(&[0.1; 4], &[1, 0, 1, 0], 1).unwrap(), 0.5));
        assert_eq!(auc(&[0.1; 4], &[1; 4], 1), None);
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        assert!(Metrics::of(&[], &[], &names(2)).is_err());
        assert!(Metrics::of(&[0.0; 3], &[0, 1], &names(2)).is_err());
        assert!(Metrics::of(&[0.0; 4], &[0, 2], &names(2)).unwrap_err().to_string().contains("label 2"));
    }

    #[test]
    fn scores_come_back_in_row_order() {
        let mut split = Split::default();
        for row in 0..50u32 {
            split.push(&vec![row; 1 + (row as usize * 7) % 13], 0, String::new());
        }
        let device = Device::flex();
        let scoring = Scoring { split: &split, pad_id: 99, batch_size: 8, device: &device };
        // The fake logits are the first token and the number of real tokens.
        let forward = |ids: Ids, mask: Tensor<2, Bool>| {
            let rows = ids.dims()[0];
            let first = ids.tokens.slice([0..rows, 0..1]).float();
            Ok(Tensor::cat(vec![first, mask.float().sum_dim(1)], 1).into_data().try_into_vec().unwrap())
        };
        let logits: Vec<f32> = scoring.logits(&forward, &Silent).unwrap();
        for (row, logits) in logits.chunks(2).enumerate() {
            assert_eq!(logits, [row as f32, split.row(row).len() as f32]);
        }
        let speed = scoring.speed(&forward, Duration::from_millis(20)).unwrap();
        assert!(0.0 < speed.latency_p50_ms && speed.latency_p50_ms <= speed.latency_p95_ms);
        assert!(speed.samples_per_second > 0.0);
    }
}
