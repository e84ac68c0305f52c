//! The two-level bootstrap: an interval for the change that holds for other seeds and for other rows.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use rand::Rng;
use rand::rngs::ChaCha8Rng;
use rayon::prelude::*;

use super::resample::{Drawing, Pair, UNITS, Units, stream};
use super::rows::PairedRows;
use super::spread::{ASIDE, Spread};
use super::student::{critical, normal};
use crate::judge::significance::Interval;
use crate::watch::{Interrupted, Progress, Watch};

/// The ends of an interval are then accurate to about a hundredth of its width.
const DRAWS: u64 = 10_000;
/// Every comparison draws the same seeds and rows.
const SEED: u64 = 0;
/// Streams of random numbers: one for each draw, and one for the groups of rows.
const GROUPS: u64 = u64::MAX;
/// Draws that are computed at once, between two looks at whether to stop.
const BLOCK: u64 = 16;

/// How much better than the baseline a variant is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The 95 % interval.
    pub interval: Interval,
    /// Share of the draws in which the variant is better; equal ones count half.
    pub better: f64,
}

/// The changes of two metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwoLevel {
    pub accuracy: Change,
    pub macro_f1: Change,
}

/// How much better the variant would be with other seeds, on other rows.
///
/// Each of 10,000 draws takes as many pairs of runs and as many rows as there are, both with replacement, and the mean change
/// over the pairs. All pairs of a draw see the same rows, as they were scored on the same rows.
///
/// The ends are percentiles (Efron, 1979) further out than 2.5 % and 97.5 %, because a sample of n spreads less than what
/// it was taken from, by √((n − 1) / n): the expanded percentile interval of Hesterberg (2015), with Student's t, whose degrees of
/// freedom are Satterthwaite's (1946) for the sum of the two variances. With many seeds, or if the rows vary more, that is the
/// plain percentile interval.
///
/// Uses all threads; the result is the same for any number of them, and on every machine.
pub fn two_level(rows: &PairedRows, watch: &dyn Watch) -> Result<TwoLevel> {
    Plan { draws: DRAWS, units: UNITS, seed: SEED }.run(rows, watch)
}

/// How to draw.
pub(super) struct Plan {
    pub(super) draws: u64,
    /// The most units of rows.
    pub(super) units: usize,
    pub(super) seed: u64,
}

/// The mean change over the pairs of a draw, and over all pairs on the draw's rows.
#[derive(Clone, Copy)]
struct Drawn {
    accuracy: [f64; 2],
    macro_f1: [f64; 2],
}

/// What a thread computes with.
#[derive(Default)]
struct Scratch {
    drawing: Drawing,
    pairs: Vec<Pair>,
}

impl Plan {
    pub(super) fn run(&self, rows: &PairedRows, watch: &dyn Watch) -> Result<TwoLevel> {
        let units = Units::of(rows, self.units, &mut stream(self.seed, GROUPS))?;
        let mut pairs = Vec::new();
        let scored = units.changes(&units.all(), &mut pairs);
        let accuracies: Vec<f64> = pairs.iter().map(|pair| pair.right / scored).collect();
        let macro_f1s: Vec<f64> = pairs.iter().map(|pair| pair.macro_f1).collect();
        let done = AtomicU64::new(0);
        let draw = |scratch: &mut Scratch, block: u64| {
            if watch.stopped() {
                return Err(Interrupted);
            }
            let draws = block * BLOCK..self.draws.min((block + 1) * BLOCK);
            let count = draws.end - draws.start;
            let drawn = self.draw(&units, draws, scratch);
            let done = done.fetch_add(count, Ordering::Relaxed) + count;
            watch.progress(Progress { done, total: self.draws, unit: "draw", ..Progress::default() });
            Ok(drawn)
        };
        let blocks = (0..self.draws.div_ceil(BLOCK)).into_par_iter();
        let all: Vec<Vec<Drawn>> = blocks.map_init(Scratch::default, draw).collect::<Result<_, _>>()?;
        let all = || all.iter().flatten();
        Ok(TwoLevel {
            accuracy: change(&accuracies, all().map(|drawn| drawn.accuracy), rows.len()),
            macro_f1: change(&macro_f1s, all().map(|drawn| drawn.macro_f1), rows.len()),
        })
    }

    fn draw(&self, units: &Units, draws: Range<u64>, Scratch { drawing, pairs }: &mut Scratch) -> Vec<Drawn> {
        let mut rngs: Vec<ChaCha8Rng> = draws.map(|draw| stream(self.seed, draw)).collect();
        let sums = units.draw(&mut rngs, drawing);
        let mean = |(rng, sums): (&mut ChaCha8Rng, &[f64])| {
            let scored = units.changes(sums, pairs);
            let count = pairs.len();
            let total = |pairs: &mut dyn Iterator<Item = Pair>| {
                pairs.fold(Pair::default(), |a, b| Pair { right: a.right + b.right, macro_f1: a.macro_f1 + b.macro_f1 })
            };
            let mut take = || pairs[((u128::from(rng.next_u64()) * count as u128) >> 64) as usize];
            let taken = total(&mut (0..count).map(|_| take()));
            let all = total(&mut pairs.iter().copied());
            let n = count as f64;
            Drawn {
                accuracy: [taken.right / (n * scored), all.right / (n * scored)],
                macro_f1: [taken.macro_f1 / n, all.macro_f1 / n],
            }
        };
        rngs.iter_mut().zip(sums.chunks(units.width())).map(mean).collect()
    }
}

/// `observed` are the changes of the pairs; `drawn` is the mean change of each draw, over its pairs and over all pairs.
fn change(observed: &[f64], drawn: impl Iterator<Item = [f64; 2]>, rows: usize) -> Change {
    let (mut means, on_rows): (Vec<f64>, Vec<f64>) = drawn.map(|[mean, on_rows]| (mean, on_rows)).unzip();
    let draws = means.len();
    let better: f64 =
        means.iter().map(|&mean| if mean > 0.0 { 1.0 } else { f64::from(u8::from(mean == 0.0)) / 2.0 }).sum();
    means.sort_unstable_by(f64::total_cmp);
    let aside = ((aside(observed, &on_rows, rows) * draws as f64) as usize).min((draws - 1) / 2);
    Change { interval: Interval { low: means[aside], high: means[draws - 1 - aside] }, better: better / draws as f64 }
}

/// The share of the draws on each side of the interval.
fn aside(observed: &[f64], on_rows: &[f64], rows: usize) -> f64 {
    let n = observed.len() as f64;
    let variance = |values: &[f64]| Spread::of(values).and_then(|spread| spread.sd).map_or(0.0, |sd| sd * sd);
    let (of_seeds, of_rows) = (variance(observed) / n, variance(on_rows));
    let total = of_seeds + of_rows;
    if total <= 0.0 {
        return ASIDE;
    }
    let shrunk = of_seeds * (n - 1.0) / n + of_rows;
    let term = |variance: f64, freedom: f64| if variance > 0.0 { variance * variance / freedom } else { 0.0 };
    let freedom = total * total / (term(of_seeds, n - 1.0) + term(of_rows, (rows as f64 - 1.0).max(1.0)));
    normal(-(total / shrunk).sqrt() * critical(ASIDE, freedom))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::watch::{Measured, Silent};

    /// Columns of predictions: a row is wrong if its number, mixed with the model's, is below the share.
    fn column(labels: &[u32], classes: u32, (model, wrong): (u64, f64)) -> Vec<u32> {
        let mixed = |row: usize| {
            let mut rng = stream(99 + model, row as u64);
            (rng.next_u32(), rng.next_u32())
        };
        let predicted = |(row, &label): (usize, &u32)| {
            let (chance, other) = mixed(row);
            if f64::from(chance) < wrong * f64::from(u32::MAX) {
                (label + 1 + other % (classes - 1)) % classes
            } else {
                label
            }
        };
        labels.iter().enumerate().map(predicted).collect()
    }

    struct Sample {
        labels: Vec<u32>,
        classes: usize,
        models: Vec<[Vec<u32>; 2]>,
    }

    impl Sample {
        fn new(rows: u32, classes: u32, pairs: u64) -> Self {
            let labels: Vec<u32> =
                (0..rows).map(|row| row.wrapping_mul(2_654_435_761) >> 16).map(|x| x % classes).collect();
            let models = (0..pairs)
                .map(|pair| [(2 * pair, 0.15), (2 * pair + 1, 0.13)].map(|model| column(&labels, classes, model)))
                .collect();
            Self { labels, classes: classes as usize, models }
        }

        fn rows(&self) -> PairedRows<'_> {
            let pairs = self.models.iter().map(|[a, b]| [a.as_slice(), b.as_slice()]).collect();
            PairedRows::new(&self.labels, self.classes, pairs).unwrap()
        }
    }

    #[test]
    fn the_result_is_the_same_for_any_number_of_threads_and_on_every_machine() {
        let sample = Sample::new(301, 3, 4);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| two_level(&sample.rows(), &Silent).unwrap())
        };
        let one = with(1);
        assert_eq!(one, with(3));
        assert_eq!(one, two_level(&sample.rows(), &Silent).unwrap());
        let Interval { low, high } = one.accuracy.interval;
        assert_eq!([low, high].map(|end| (end * 301.0 * 4.0).round()), [-11.0, 84.0]);
    }

    #[test]
    fn equal_models_are_equal_and_a_better_one_is_better() {
        let mut sample = Sample::new(100, 4, 3);
        sample.models.iter_mut().for_each(|[a, b]| b.clone_from(a));
        let same = two_level(&sample.rows(), &Silent).unwrap();
        let none = Change { interval: Interval { low: 0.0, high: 0.0 }, better: 0.5 };
        assert_eq!(same, TwoLevel { accuracy: none, macro_f1: none });
        let labels = sample.labels.clone();
        sample.models.iter_mut().for_each(|[_, b]| b.clone_from(&labels));
        let better = two_level(&sample.rows(), &Silent).unwrap();
        assert!(better.accuracy.interval.low > 0.0 && better.macro_f1.interval.low > 0.0);
        assert_eq!((better.accuracy.better, better.macro_f1.better), (1.0, 1.0));
    }

    /// If every seed gives the same model, only the rows vary; drawing rows for each pair by itself would give an interval
    /// that is narrower by √n.
    #[test]
    fn more_runs_of_the_same_model_do_not_narrow_the_interval() {
        let one = Sample::new(400, 3, 1);
        let many = Sample { models: vec![one.models[0].clone(); 9], labels: one.labels.clone(), classes: one.classes };
        let width = |sample: &Sample| {
            let interval = two_level(&sample.rows(), &Silent).unwrap().accuracy.interval;
            interval.high - interval.low
        };
        assert!((width(&many) / width(&one) - 1.0).abs() < 0.03, "{} {}", width(&one), width(&many));
    }

    #[test]
    fn groups_of_rows_give_the_interval_of_single_rows() {
        let sample = Sample::new(20_000, 3, 3);
        let run = |units| Plan { draws: 4000, units, seed: 5 }.run(&sample.rows(), &Silent).unwrap();
        let (rows, groups) = (run(UNITS), run(2500));
        for (a, b) in [(rows.accuracy, groups.accuracy), (rows.macro_f1, groups.macro_f1)] {
            let wide = a.interval.high - a.interval.low;
            assert!((a.interval.low - b.interval.low).abs() < 0.05 * wide, "{a:?} {b:?}");
            assert!((a.interval.high - b.interval.high).abs() < 0.05 * wide, "{a:?} {b:?}");
        }
    }

    #[test]
    fn it_stops_when_asked_and_tells_how_far_it_is() {
        #[derive(Default)]
        struct Stopping {
            stop: AtomicBool,
            most: AtomicU64,
        }
        impl Watch for Stopping {
            fn progress(&self, progress: Progress) {
                assert_eq!((progress.total, progress.unit), (DRAWS, "draw"));
                self.most.fetch_max(progress.done, Ordering::Relaxed);
                self.stop.store(true, Ordering::Relaxed);
            }
            fn measured(&self, _: Measured) {}
            fn note(&self, _: String) {}
            fn warn(&self, _: String) {}
            fn stopped(&self) -> bool {
                self.stop.load(Ordering::Relaxed)
            }
        }
        let sample = Sample::new(2000, 3, 5);
        let watch = Stopping::default();
        let error = two_level(&sample.rows(), &watch).unwrap_err();
        assert!(error.is::<Interrupted>());
        let most = watch.most.into_inner();
        assert!((BLOCK..DRAWS / 2).contains(&most), "{most}");
    }
}
