//! How long a decision takes to fit on a million rows of five classes, and how that grows.
//!
//! `cargo bench --bench decide -- [--rows 1000000] [--classes 5]`

use std::time::Instant;

use anyhow::{Context, Result};
use pipe_ml::judge::decide::{Decision, Fit, Labelled, Method};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: usize| -> Result<usize> {
        let given = arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
        given.map_or(Ok(default), |text| text.parse().with_context(|| format!("{name} {text}")))
    };
    let (most, classes) = (number("--rows", 1_000_000)?, number("--classes", 5)?);
    let names: Vec<String> = (0..classes).map(|class| format!("label {class}")).collect();
    for rows in [most / 100, most / 10, most] {
        let (logits, labels) = noisy(rows, classes);
        let labelled = Labelled { logits: &logits, labels: &labels, classes };
        for method in [Method::Argmax, Method::MacroF1, Method::Covid] {
            let fit = Fit {
                method,
                temperature: None,
                thresholds: Vec::new(),
                frequencies: Some(vec![1.0 / classes as f64; classes]),
                prior: None,
                cost: None,
            };
            let begin = Instant::now();
            let decision = Decision::fit(&fit, &labelled, &names)?;
            let seconds = begin.elapsed().as_secs_f64();
            println!("{rows} rows, {classes} classes, {}: {seconds:.2} s ({})", method.name(), decision.describe());
        }
    }
    Ok(())
}

/// Classes of shares 1 : 2 : 3 : …, and logits that favour the right one but overlap.
fn noisy(rows: usize, classes: usize) -> (Vec<f32>, Vec<u32>) {
    let shares: Vec<u32> = (0..classes).flat_map(|class| vec![class as u32; class + 1]).collect();
    let (mut logits, mut labels) = (Vec::with_capacity(rows * classes), Vec::with_capacity(rows));
    let uniform = |at: usize| f64::from(scattered(at as u32)) / 4_294_967_296.0;
    for row in 0..rows {
        let label = shares[scattered(row as u32 ^ 0x5bd1_e995) as usize % shares.len()];
        labels.push(label);
        for class in 0..classes {
            // The sum of three uniform numbers is close to normal.
            let noise: f64 = (0..3).map(|k| uniform((row * classes + class) * 3 + k) - 0.5).sum::<f64>() * 4.0;
            logits.push((noise + if class as u32 == label { 2.5 } else { 0.0 }) as f32);
        }
    }
    (logits, labels)
}

/// A number that looks random; numbers that follow each other are far apart (Murmur3's finalizer).
fn scattered(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}
