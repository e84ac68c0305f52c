//! The numbers of SciPy, statsmodels, deep-significance and NumPy for fixed arrays (`scripts/make_statistics_fixtures.py`).

use serde::Deserialize;

use super::student::{critical, upper_tail};
use super::{Differences, PairedRows, Spread, almost_stochastic_order, detectable, pairs_needed, two_level};
use crate::watch::Silent;

#[derive(Deserialize)]
struct Peers {
    /// Tail, degrees of freedom, quantile.
    quantiles: Vec<[f64; 3]>,
    /// t, degrees of freedom, P(T > t).
    tails: Vec<[f64; 3]>,
    pairs: Vec<Pairs>,
    power: Power,
    orders: Vec<Order>,
    bootstrap: Bootstrap,
}

#[derive(Deserialize)]
struct Pairs {
    baseline: Vec<f64>,
    variant: Vec<f64>,
    mean: f64,
    sd: f64,
    low: f64,
    high: f64,
    t_p: f64,
    sign_flip_p: f64,
    variant_mean: f64,
    variant_sd: f64,
    variant_low: f64,
    variant_high: f64,
}

#[derive(Deserialize)]
struct Power {
    detectable: Vec<(usize, f64)>,
    needed: Vec<(f64, usize)>,
}

#[derive(Deserialize)]
struct Order {
    variant: Vec<f64>,
    baseline: Vec<f64>,
    ratio: f64,
    deepsig_ratio: f64,
    deepsig_epsilon: f64,
}

#[derive(Deserialize)]
struct Bootstrap {
    classes: usize,
    labels: String,
    baseline: Vec<String>,
    variant: Vec<String>,
    accuracy: Expected,
    macro_f1: Expected,
}

#[derive(Deserialize)]
struct Expected {
    observed: Vec<f64>,
    low: f64,
    high: f64,
    better: f64,
}

fn peers() -> Peers {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/statistics/peers.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[track_caller]
fn assert_close(found: f64, expected: f64, slack: f64, what: &str) {
    assert!((found - expected).abs() <= slack * expected.abs().max(1e-12), "{what}: {found} and not {expected}");
}

#[test]
fn quantiles_and_tails_of_t_are_scipys() {
    let peers = peers();
    assert!(peers.quantiles.len() > 100 && peers.tails.len() > 40);
    for [tail, freedom, expected] in peers.quantiles {
        assert_close(critical(tail, freedom), expected, 1e-9, &format!("quantile {tail} {freedom}"));
    }
    for [t, freedom, expected] in peers.tails {
        assert_close(upper_tail(t, freedom), expected, 1e-9, &format!("tail {t} {freedom}"));
    }
}

#[test]
fn means_intervals_and_tests_of_pairs_are_scipys() {
    for (at, peer) in peers().pairs.iter().enumerate() {
        let pairs: Vec<(f64, f64)> = peer.baseline.iter().copied().zip(peer.variant.iter().copied()).collect();
        let found = Differences::of(&pairs).unwrap();
        let interval = found.spread.interval.unwrap();
        let own = Spread::of(&peer.variant).unwrap();
        let range = own.interval.unwrap();
        for (what, found, expected) in [
            ("mean", found.spread.mean, peer.mean),
            ("sd", found.spread.sd.unwrap(), peer.sd),
            ("low", interval.low, peer.low),
            ("high", interval.high, peer.high),
            ("t", found.t_p.unwrap(), peer.t_p),
            ("mean of the variant", own.mean, peer.variant_mean),
            ("sd of the variant", own.sd.unwrap(), peer.variant_sd),
            ("low of the variant", range.low, peer.variant_low),
            ("high of the variant", range.high, peer.variant_high),
        ] {
            assert_close(found, expected, 1e-9, &format!("{what} of {at}"));
        }
        // A whole number of signs over 2^n: both are exact.
        assert_eq!(found.sign_flip_p, Some(peer.sign_flip_p), "sign flip of {at}");
    }
}

#[test]
fn power_is_statsmodels() {
    let Power { detectable: effects, needed } = peers().power;
    assert_eq!((effects[2].0, format!("{:.2}", effects[2].1)), (5, "1.68".into()));
    for (pairs, effect) in effects {
        assert_close(detectable(pairs).unwrap(), effect, 1e-8, &format!("{pairs} pairs"));
    }
    for (effect, pairs) in needed {
        assert_eq!(pairs_needed(effect), Some(pairs), "{effect}");
    }
}

#[test]
fn almost_stochastic_order_is_deep_significances() {
    for (at, peer) in peers().orders.iter().enumerate() {
        let ratio = super::order::violation_ratio(&peer.variant, &peer.baseline);
        assert!((ratio - peer.ratio).abs() < 1e-12, "{at}: {ratio} and not {}", peer.ratio);
        // Theirs is a sum over points: 100,000 of them here, 500 for ε, whose bootstrap also draws other runs.
        assert!((ratio - peer.deepsig_ratio).abs() < 1e-3, "{at}: {ratio} and not {}", peer.deepsig_ratio);
        let epsilon = almost_stochastic_order(&peer.variant, &peer.baseline).unwrap();
        assert!((epsilon - peer.deepsig_epsilon).abs() < 0.03, "{at}: {epsilon} and not {}", peer.deepsig_epsilon);
    }
}

#[test]
fn the_two_level_bootstrap_is_numpys() {
    let peer = peers().bootstrap;
    let column = |digits: &String| -> Vec<u32> { digits.bytes().map(|digit| u32::from(digit - b'0')).collect() };
    let labels = column(&peer.labels);
    let models = |all: &[String]| -> Vec<Vec<u32>> { all.iter().map(column).collect() };
    let (baseline, variant) = (models(&peer.baseline), models(&peer.variant));
    let pairs: Vec<[&[u32]; 2]> = baseline.iter().zip(&variant).map(|(a, b)| [a.as_slice(), b.as_slice()]).collect();
    let found = two_level(&PairedRows::new(&labels, peer.classes, pairs).unwrap(), &Silent).unwrap();
    for (name, change, expected) in
        [("accuracy", found.accuracy, peer.accuracy), ("macro F1", found.macro_f1, peer.macro_f1)]
    {
        let mean = expected.observed.iter().sum::<f64>() / expected.observed.len() as f64;
        let wide = expected.high - expected.low;
        let near = |found: f64, expected: f64| (found - expected).abs() < 0.03 * wide;
        assert!(near(change.interval.low, expected.low), "{name}: {change:?} and not {}", expected.low);
        assert!(near(change.interval.high, expected.high), "{name}: {change:?} and not {}", expected.high);
        assert!((change.better - expected.better).abs() < 0.02, "{name}: {change:?} and not {}", expected.better);
        assert!(change.interval.low < mean && mean < change.interval.high);
    }
}
