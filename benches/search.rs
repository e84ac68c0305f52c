//! What searches miss of the best value on surrogates, and what a suggestion costs, as one JSON line.
//!
//! `cargo bench --bench search -- [--seeds 300] [--first 0] [--trials 15] [--startup 5]`; `-- --journal FILE` writes a journal of
//! Optuna instead. `scripts/compare/search.py` runs it beside Optuna, `scripts/check_search.py` opens the journal.

mod surrogates;

use std::time::Instant;

use anyhow::{Context, Result};
use pipe_ml::search::{Method, Observed, Outcome, Sampler, Study, Trial, Value, importances, journal};
use serde_json::{Value as Json, json};
use surrogates::{BEST, Surrogate};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default: u64| -> Result<u64> {
        given(name).map_or(Ok(default), |text| text.parse().with_context(|| format!("{name} {text}")))
    };
    if let Some(path) = given("--journal") {
        return Ok(std::fs::write(path, example(number("--seed", 0)?)?)?);
    }
    let (seeds, first) = (number("--seeds", 300)?, number("--first", 0)?);
    let (trials, startup) = (number("--trials", 15)? as usize, number("--startup", 5)? as usize);
    let mut regrets = serde_json::Map::new();
    for surrogate in Surrogate::all() {
        let mut of = |label: &str, method, late| {
            let found: Vec<f64> = (first..first + seeds)
                .map(|seed| {
                    let sampler = Sampler { method, startup, seed, maximize: true };
                    regret(&surrogate, &search(&surrogate, sampler, (trials, late)))
                })
                .collect();
            regrets.insert(format!("{} {label}", surrogate.name), json!(found));
        };
        of("random", Method::Random, 0);
        for late in 0..3 {
            of(&format!("{late} late"), Method::Tpe, late);
        }
    }
    let surrogate = &Surrogate::all()[0];
    let sampler = Sampler { method: Method::Tpe, startup, seed: 0, maximize: true };
    let begin = Instant::now();
    search(surrogate, sampler, (1000, 0));
    let seconds = begin.elapsed().as_secs_f64();
    println!("{}", json!({"regrets": regrets, "seconds_of_1000_suggestions": seconds, "probes": probes()}));
    Ok(())
}

/// A search of so many trials that sees each result that many trials later.
fn search(surrogate: &Surrogate, sampler: Sampler, (trials, late): (usize, usize)) -> Vec<Observed> {
    let mut state = sampler.seed;
    let mut history: Vec<Observed> = Vec::new();
    let mut results = Vec::new();
    for trial in 0..trials {
        if let Some(known) = trial.checked_sub(late + 1) {
            history[known].outcome = results[known];
        }
        let suggested = if trial == 0 { None } else { sampler.suggest(&surrogate.space, &history) };
        let point = suggested.unwrap_or_else(|| surrogate.file.clone());
        results.push(Outcome::Value(surrogate.at(&point) + surrogate.noise * normal(&mut state)));
        history.push(Observed { point, outcome: Outcome::Pending });
    }
    history.iter_mut().zip(results).for_each(|(observed, outcome)| observed.outcome = outcome);
    history
}

/// How far the trial that looks best is from the best value, in hundredths.
fn regret(surrogate: &Surrogate, history: &[Observed]) -> f64 {
    let value = |observed: &Observed| match observed.outcome {
        Outcome::Value(value) => value,
        _ => f64::NEG_INFINITY,
    };
    let best = history.iter().max_by(|a, b| value(a).total_cmp(&value(b)));
    best.map_or(f64::NAN, |best| 100.0 * (BEST - surrogate.at(&best.point)))
}

/// About a standard normal draw: twelve uniform ones of SplitMix64 (Steele et al. 2014), summed.
fn normal(state: &mut u64) -> f64 {
    let mut uniform = || {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    };
    (0..12).map(|_| uniform()).sum::<f64>() - 6.0
}

/// Points of each surrogate with their values, so that the script can check that it has the same functions.
fn probes() -> Vec<Json> {
    let probe = |surrogate: &Surrogate| {
        let sampler = Sampler { method: Method::Random, startup: 0, seed: 1, maximize: true };
        let history = search(surrogate, sampler, (20, 0));
        let rows = history.iter().map(|observed| {
            let numbers: Vec<Option<f64>> = observed.point.iter().map(|value| value.map(number)).collect();
            json!([numbers, surrogate.at(&observed.point)])
        });
        json!([surrogate.name, rows.collect::<Vec<Json>>()])
    };
    Surrogate::all().iter().map(probe).collect()
}

fn number(value: Value) -> f64 {
    match value {
        Value::Float(x) => x,
        Value::Integer(x) => x as f64,
        Value::Category(x) => x as f64,
    }
}

/// The journal of a search with every kind of parameter and of outcome. The importances are those of the same search, so that
/// Optuna's can be compared.
fn example(seed: u64) -> Result<String> {
    let surrogate = Surrogate::all().swap_remove(3);
    let sampler = Sampler { method: Method::Tpe, startup: 5, seed, maximize: true };
    let mut history = search(&surrogate, sampler, (30, 1));
    history[7].outcome = Outcome::Failed;
    for (trial, rung) in [(4, 1), (11, 1), (12, 2)] {
        let Outcome::Value(value) = history[trial].outcome else { continue };
        history[trial].outcome = Outcome::Cut { rung, value };
    }
    let choices =
        [vec![json!("full"), json!("lora")], vec![], vec![json!(4), json!(6), json!(8), json!(12)], vec![], vec![]];
    let importances = importances(&surrogate.space, &history, true);
    let trials: Vec<Trial> = (history.iter().enumerate())
        .map(|(number, observed)| Trial {
            observed,
            reports: vec![],
            attributes: match number {
                0 => vec![("importances".into(), json!(importances)), ("from".into(), json!("file"))],
                _ => vec![],
            },
        })
        .collect();
    let study =
        Study { name: "search", metric: "macro-f1", maximize: true, space: &surrogate.space, choices: &choices };
    Ok(journal(&study, &trials)?)
}
