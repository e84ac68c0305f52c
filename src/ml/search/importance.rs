//! Which parameters mattered: PED-ANOVA.

use libm::{ceil, exp, log, round, sqrt};

use super::domain::Domain;
use super::history::{Observed, Outcome};
use super::normal::{log_mass, log_sum_exp};
use super::space::Space;

/// The share of the trials that counts as good.
const GOOD: f64 = 0.1;
/// The most steps that a range of numbers is divided into.
const STEPS: f64 = 50.0;
/// Added to each density, so that none is zero.
const FLOOR: f64 = 1e-12;
/// With fewer trials than this, nothing is said about a parameter.
const FEWEST: usize = 2;
/// The narrowest kernel in steps: 90 % of it is within its own step.
const NARROWEST: f64 = 0.5 / 1.64;

/// The importance of each parameter for being among the best tenth, as shares of one.
///
/// Watanabe, Bansal, Hutter (2023), "PED-ANOVA: efficiently quantifying hyperparameter importance in arbitrary subspaces", and
/// its extension to conditional parameters (arXiv 2601.20800): the Pearson divergence between the densities of the best trials
/// and of all. Equal to `optuna.importance.get_param_importances` of Optuna 5, except that a parameter that no complete trial
/// has gets 0. If nothing can be told apart, all others are equal. Only complete trials with a finite value count.
pub fn importances(space: &Space, history: &[Observed], maximize: bool) -> Vec<f64> {
    let complete: Vec<(&Observed, f64)> = (history.iter())
        .filter_map(|observed| match observed.outcome {
            Outcome::Value(value) if value.is_finite() => Some((observed, if maximize { -value } else { value })),
            _ => None,
        })
        .collect();
    let mut losses: Vec<f64> = complete.iter().map(|(_, loss)| *loss).collect();
    losses.sort_by(f64::total_cmp);
    let cutoff = match losses.len() {
        0 => return vec![0.0; space.parameters.len()],
        trials => losses[(ceil(GOOD * trials as f64) as usize).max(1) - 1],
    };
    let good = losses.iter().filter(|loss| **loss <= cutoff).count() as f64;
    let share = good / losses.len() as f64;
    let mut found: Vec<Option<f64>> = Vec::with_capacity(space.parameters.len());
    for (index, parameter) in space.parameters.iter().enumerate() {
        let active = |observed: &Observed| parameter.domain.coordinate(observed.point[index]?);
        let all: Vec<(f64, f64)> =
            complete.iter().filter_map(|(observed, loss)| Some((active(observed)?, *loss))).collect();
        let best: Vec<f64> = all.iter().filter(|(_, loss)| *loss <= cutoff).map(|(x, _)| *x).collect();
        let all: Vec<f64> = all.into_iter().map(|(x, _)| x).collect();
        found.push(if all.is_empty() {
            None
        } else if losses.len() < 2 || all.len() < FEWEST || best.is_empty() || parameter.domain.is_single() {
            Some(0.0)
        } else {
            let (of_best, of_all) = (best.len() as f64 / good, all.len() as f64 / losses.len() as f64);
            Some(of_best * of_best / of_all * divergence(&parameter.domain, &best, &all) * share * share)
        });
    }
    let sum: f64 = found.iter().flatten().sum();
    let known = found.iter().flatten().count() as f64;
    found
        .into_iter()
        .map(|value| value.map_or(0.0, |value| if sum == 0.0 { 1.0 / known } else { value / sum }))
        .collect()
}

/// The Pearson divergence of the density of the best from that of all.
fn divergence(domain: &Domain, best: &[f64], all: &[f64]) -> f64 {
    let (best, all) = (densities(domain, best), densities(domain, all));
    let terms = best.iter().zip(&all).map(|(best, all)| {
        let ratio = (best + FLOOR) / (all + FLOOR) - 1.0;
        (all + FLOOR) * ratio * ratio
    });
    terms.sum()
}

/// The density on each step of the domain.
fn densities(domain: &Domain, coordinates: &[f64]) -> Vec<f64> {
    let counts = counts(domain, coordinates);
    let places: Vec<usize> = (0..counts.len()).filter(|place| counts[*place] > 0).collect();
    let total = coordinates.len() as f64 + 1.0;
    let weights: Vec<f64> = places.iter().map(|place| counts[*place] as f64 / total).chain([1.0 / total]).collect();
    let log_kernel: Box<dyn Fn(usize, usize) -> f64> = match domain {
        Domain::Categories(choices) => {
            let prior = 1.0 / (places.len() + 1) as f64;
            let (wide, places, choices) = (places.len(), places.clone(), *choices as f64);
            Box::new(move |kernel, place| {
                let is_own = kernel < wide && places[kernel] == place;
                let sum = prior * choices + if kernel < wide { 1.0 } else { 0.0 };
                log((prior + if is_own { 1.0 } else { 0.0 }) / sum)
            })
        }
        _ => {
            let last = (counts.len() - 1) as f64;
            let width = width(&counts, &places);
            let centres: Vec<f64> = places.iter().map(|place| *place as f64).chain([last / 2.0]).collect();
            Box::new(move |kernel, place| {
                let width = if kernel + 1 == centres.len() { last + 1.0 } else { width };
                let scaled = |x: f64| (x - centres[kernel]) / width;
                let place = place as f64;
                log_mass(scaled(place - 0.5), scaled(place + 0.5)) - log_mass(scaled(-0.5), scaled(last + 0.5))
            })
        }
    };
    let density = |place| {
        let terms: Vec<f64> =
            weights.iter().enumerate().map(|(kernel, weight)| log(*weight) + log_kernel(kernel, place)).collect();
        exp(log_sum_exp(&terms))
    };
    (0..counts.len()).map(density).collect()
}

/// How many coordinates are nearest to each step; a tie goes to the lower one.
fn counts(domain: &Domain, coordinates: &[f64]) -> Vec<usize> {
    let (steps, low, high) = match (domain, domain.ends()) {
        (Domain::Categories(choices), _) => (*choices as f64, 0.0, *choices as f64 - 1.0),
        (Domain::Integer { log: true, .. }, Some((low, high))) => {
            let bits = ceil(log(high - low + 1.0) / log(2.0)) + 1.0;
            (bits.min(STEPS), log(low), log(high))
        }
        (Domain::Integer { step, .. }, Some((low, high))) => {
            ((round((high - low) / *step as f64) + 1.0).min(STEPS), low, high)
        }
        (_, Some((low, high))) if domain.is_log() => (STEPS, log(low), log(high)),
        (_, ends) => {
            let (low, high) = ends.unwrap_or_default();
            (STEPS, low, high)
        }
    };
    let mut counts = vec![0; steps as usize];
    let wide = (high - low) / (steps - 1.0);
    for x in coordinates {
        let place = ceil((x - low) / wide - 0.5).clamp(0.0, steps - 1.0);
        counts[place as usize] += 1;
    }
    counts
}

/// The width of the kernels in steps, by Scott's rule (1992) with quartiles.
fn width(counts: &[usize], places: &[usize]) -> f64 {
    let total: usize = counts.iter().sum();
    let weighted = |value: &dyn Fn(f64) -> f64| -> f64 {
        places.iter().map(|place| value(*place as f64) * counts[*place] as f64).sum()
    };
    let mean = weighted(&|x| x) / total as f64;
    let deviation = sqrt(weighted(&|x| (x - mean) * (x - mean)) / total.saturating_sub(1).max(1) as f64);
    // The place of the first trial at or behind a quarter, and of the first behind three quarters.
    let place_of = |is_there: &dyn Fn(usize) -> bool| {
        let mut sum = 0;
        let found = places.iter().find(|place| {
            sum += counts[**place];
            is_there(sum)
        });
        found.or(places.last()).map_or(0.0, |place| *place as f64)
    };
    let quartiles = place_of(&|sum| sum > total * 3 / 4) - place_of(&|sum| sum >= total / 4);
    let scott = 1.059 * f64::min(quartiles / 1.34, deviation) * libm::pow(total as f64, -0.2);
    scott.max(NARROWEST)
}
