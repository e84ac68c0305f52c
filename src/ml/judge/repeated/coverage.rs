//! How often the intervals hold the true value, by simulation. `PIPE_COVERAGE=10` simulates ten times as much.

use rand::Rng;
use rand::rngs::ChaCha8Rng;
use rayon::prelude::*;

use super::bootstrap::Plan;
use super::resample::stream;
use super::{Differences, PairedRows, Spread};
use crate::watch::Silent;

/// How many times as much as usual to simulate.
fn more() -> u64 {
    std::env::var("PIPE_COVERAGE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Box and Muller (1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (a, b) = (1.0 - uniform(rng), uniform(rng));
    (-2.0 * a.ln()).sqrt() * (2.0 * std::f64::consts::PI * b).cos()
}

/// The share of the simulations in which `holds`.
fn share(simulations: u64, holds: impl Fn(&mut ChaCha8Rng) -> bool + Sync) -> f64 {
    let count = (0..simulations).into_par_iter().filter(|&at| holds(&mut stream(1, at))).count();
    count as f64 / simulations as f64
}

#[test]
fn the_t_interval_holds_the_mean_in_95_of_100_cases() {
    for runs in [2, 3, 5, 10] {
        let found = share(20_000 * more(), |rng| {
            let values: Vec<f64> = (0..runs).map(|_| 0.85 + 0.01 * normal(rng)).collect();
            let interval = Spread::of(&values).unwrap().interval.unwrap();
            interval.low <= 0.85 && 0.85 <= interval.high
        });
        assert!((found - 0.95).abs() < 0.01, "{runs} runs: {found}");
    }
}

#[test]
fn the_paired_t_test_rejects_equal_methods_in_5_of_100_cases_and_the_sign_flip_test_in_no_more() {
    for runs in [5, 8] {
        let pairs = |rng: &mut ChaCha8Rng| -> Vec<(f64, f64)> {
            (0..runs)
                .map(|_| {
                    let seed = 0.02 * normal(rng);
                    (0.85 + seed + 0.01 * normal(rng), 0.85 + seed + 0.01 * normal(rng))
                })
                .collect()
        };
        let t = share(20_000, |rng| Differences::of(&pairs(rng)).unwrap().t_p.unwrap() < 0.05);
        let flips = share(20_000, |rng| Differences::of(&pairs(rng)).unwrap().sign_flip_p.unwrap() < 0.05);
        assert!((t - 0.05).abs() < 0.01, "{runs} runs: {t}");
        assert!(flips <= 0.051, "{runs} runs: {flips}");
        // Five pairs cannot go below 0.0625.
        assert_eq!(flips > 0.0, runs > 5, "{runs} runs: {flips}");
    }
}

/// How models and rows vary in a simulation.
struct World {
    name: &'static str,
    runs: usize,
    rows: usize,
    /// The standard deviation of a seed's share of right answers.
    seeds: f64,
    /// The standard deviation of how much harder a row is for one of the two methods, for all seeds.
    rows_differ: f64,
}

impl World {
    /// Labels of two classes, and the predictions of pairs of models that are equally good on average: a model is right on a
    /// row with a probability of 0.8, plus what its seed gives, plus or minus what the row has for its method.
    fn sample(&self, rng: &mut ChaCha8Rng) -> (Vec<u32>, Vec<[Vec<u32>; 2]>) {
        let labels: Vec<u32> = (0..self.rows).map(|_| rng.next_u32() & 1).collect();
        let rows: Vec<f64> =
            (0..self.rows).map(|_| self.rows_differ * (2.0 * uniform(rng) - 1.0) * 3f64.sqrt()).collect();
        let mut model = |sign: f64| -> Vec<u32> {
            let seed = self.seeds * normal(rng);
            let right = |row: &f64, rng: &mut ChaCha8Rng| uniform(rng) < 0.8 + seed + sign * row;
            labels.iter().zip(&rows).map(|(label, row)| if right(row, rng) { *label } else { 1 - label }).collect()
        };
        let models = (0..self.runs).map(|_| [model(-1.0), model(1.0)]).collect();
        (labels, models)
    }
}

#[test]
fn the_two_level_interval_holds_the_change_for_other_seeds_and_rows() {
    let world = |name, runs, rows, seeds, rows_differ| World { name, runs, rows, seeds, rows_differ };
    let worlds = [
        world("seeds vary more than rows", 5, 300, 0.04, 0.0),
        world("seeds and rows vary", 5, 300, 0.015, 0.1),
        world("rows vary, seeds do not", 5, 300, 0.0, 0.11),
        world("three runs", 3, 300, 0.015, 0.1),
        world("ten runs", 10, 300, 0.015, 0.1),
    ];
    for world in worlds {
        let simulations = 400 * more();
        let holds = |rng: &mut ChaCha8Rng| {
            let (labels, models) = world.sample(rng);
            let pairs = models.iter().map(|[a, b]| [a.as_slice(), b.as_slice()]).collect();
            let rows = PairedRows::new(&labels, 2, pairs).unwrap();
            // The draws differ from simulation to simulation.
            let plan = Plan { draws: 2000, units: 1 << 15, seed: rng.next_u64() };
            let interval = plan.run(&rows, &Silent).unwrap().accuracy.interval;
            interval.low <= 0.0 && 0.0 <= interval.high
        };
        let found = share(simulations, holds);
        // Four standard errors of the simulation below, and what is wider than it has to be above.
        let error = (0.95 * 0.05 / simulations as f64).sqrt();
        assert!((0.935 - 4.0 * error..0.985 + 2.0 * error).contains(&found), "{}: {found}", world.name);
    }
}
