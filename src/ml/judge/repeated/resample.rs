//! Draws rows with replacement and counts what decides accuracy and macro F1.

use anyhow::{Result, ensure};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use super::rows::PairedRows;
use crate::compute::kernel::matmul::{Matrix, Target, matmul_here};

/// Up to so many rows, each is drawn by itself. More are put into as many groups of equal size at random, and the groups are
/// drawn: the bootstrap of random groups has the same expected variance, with a relative standard deviation of √(2 / groups).
/// The width of an interval thereby varies by 0.4 %, a quarter of what 10,000 draws leave open; a million rows cost as much
/// as 32,768.
pub(super) const UNITS: usize = 1 << 15;
/// Fewer groups if their counts would take more than 128 MiB, as with many classes and many seeds.
const COUNTS: usize = 1 << 25;
/// The fewest groups: their interval varies by 1.6 %, as much as 10,000 draws leave open.
const FEWEST: usize = 1 << 11;
/// Rows whose counts are added up in f32: far fewer than 2^24, up to which its whole numbers are exact.
const EXACT: usize = 1 << 22;
/// The most rows in one group, so that a group drawn a few times is exact too.
const LARGEST: usize = 1 << 18;

/// What is drawn: rows or groups of rows, each with its counts.
///
/// The counts of all models come from the same draw of rows, because they were scored on the same rows: what is special about
/// these rows is special for all runs, and does not average out over the seeds.
pub(super) struct Units {
    count: usize,
    classes: usize,
    width: usize,
    /// Units whose counts are added up at once.
    chunk: usize,
    /// `[count, width]`: for each class the rows of it, and for each model in turn (baseline, variant, baseline, …) and each
    /// class the rows of it that the model got right and then, for each class, the rows that it predicted as it.
    counts: Vec<f32>,
}

/// Memory for drawing.
#[derive(Default)]
pub(super) struct Drawing {
    /// `[draws, count]`: how often each unit was drawn.
    times: Vec<f32>,
    part: Vec<f32>,
    /// `[draws, width]`
    sums: Vec<f64>,
}

/// How a draw's variant compares with the baseline in one pair: the change of the number of right rows, and of the macro F1.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pair {
    pub(super) right: f64,
    pub(super) macro_f1: f64,
}

impl Units {
    pub(super) fn of(rows: &PairedRows, most: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let (classes, all) = (rows.classes, rows.len());
        let width = classes * (1 + 4 * rows.pairs.len());
        let count = all.min(most).min((COUNTS / width).max(FEWEST));
        let largest = all.div_ceil(count);
        ensure!(largest <= LARGEST, "{all} rows are too many to compare; the limit is {}", count * LARGEST);
        let mut units =
            Self { count, classes, width, chunk: (EXACT / largest).max(1), counts: vec![0.0; count * width] };
        let mut order: Vec<u32> = (0..all as u32).collect();
        if all > count {
            shuffle(&mut order, rng);
        }
        for (at, &row) in order.iter().enumerate() {
            let (row, counts) = (row as usize, &mut units.counts[at % count * width..][..width]);
            let label = rows.labels[row] as usize;
            counts[label] += 1.0;
            for (model, predicted) in rows.pairs.iter().flatten().enumerate() {
                let predicted = predicted[row] as usize;
                let own = &mut counts[classes * (1 + 2 * model)..][..2 * classes];
                own[classes + predicted] += 1.0;
                if predicted == label {
                    own[label] += 1.0;
                }
            }
        }
        Ok(units)
    }

    /// For each generator the sums of the counts of as many units as there are, drawn with replacement, `[draws, width]`.
    ///
    /// A product of matrices, which reads the counts in order: adding up drawn units one by one waits for memory.
    pub(super) fn draw<'a>(&self, rngs: &mut [ChaCha8Rng], drawing: &'a mut Drawing) -> &'a [f64] {
        let Drawing { times, part, sums } = drawing;
        let (draws, count, width) = (rngs.len(), self.count, self.width);
        times.clear();
        times.resize(draws * count, 0.0);
        for (rng, times) in rngs.iter_mut().zip(times.chunks_mut(count)) {
            // A unit of half a number: its probability is off by at most `count` / 2^32 of itself.
            let mut take = |random: u32| times[((u64::from(random) * count as u64) >> 32) as usize] += 1.0;
            for _ in 0..count / 2 {
                let random = rng.next_u64();
                take(random as u32);
                take((random >> 32) as u32);
            }
            if count % 2 == 1 {
                take(rng.next_u32());
            }
        }
        part.resize(draws * width, 0.0);
        sums.clear();
        sums.resize(draws * width, 0.0);
        for (at, counts) in self.counts.chunks(self.chunk * width).enumerate() {
            let units = counts.len() / width;
            let times = Matrix::strided(&times[at * self.chunk..], draws, units, count);
            let (counts, target) = (Matrix::new(counts, units, width), Target::overwrite(part, draws, width));
            matmul_here(times, counts, target, 1.0);
            sums.iter_mut().zip(&*part).for_each(|(sum, part)| *sum += f64::from(*part));
        }
        sums
    }

    /// The sums of the counts of all units, `[width]`.
    pub(super) fn all(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.width];
        for counts in self.counts.chunks(self.width) {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += f64::from(*count));
        }
        sums
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The number of rows, and the change in each pair.
    pub(super) fn changes(&self, sums: &[f64], pairs: &mut Vec<Pair>) -> f64 {
        let (labels, models) = sums.split_at(self.classes);
        let scores = |model: &[f64]| {
            let (right, predicted) = model.split_at(self.classes);
            let (mut total, mut seen) = (0.0, 0.0);
            for ((right, predicted), label) in right.iter().zip(predicted).zip(labels) {
                // As `Metrics` has it: the mean over the classes with rows or predictions.
                if label + predicted > 0.0 {
                    total += 2.0 * right / (label + predicted);
                    seen += 1.0;
                }
            }
            (right.iter().sum::<f64>(), total / seen)
        };
        pairs.clear();
        pairs.extend(models.chunks(4 * self.classes).map(|pair| {
            let (baseline, variant) = pair.split_at(2 * self.classes);
            let ((before, old), (after, new)) = (scores(baseline), scores(variant));
            Pair { right: after - before, macro_f1: new - old }
        }));
        labels.iter().sum()
    }
}

/// Fisher and Yates.
fn shuffle(order: &mut [u32], rng: &mut ChaCha8Rng) {
    for last in (1..order.len()).rev() {
        let other = ((u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64) as usize;
        order.swap(last, other);
    }
}

/// Random numbers: another sequence for each stream.
pub(super) fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}
