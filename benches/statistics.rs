//! How long the two-level bootstrap of repeated runs takes on a million rows.
//!
//! `cargo bench --bench statistics -- [--rows 1000000] [--pairs 5]`

use std::time::Instant;

use anyhow::{Context, Result};
use pipe_ml::judge::repeated::{PairedRows, two_level};
use pipe_ml::watch::Silent;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u32| -> Result<u32> {
        let given = arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
        given.map_or(Ok(default), |text| text.parse().with_context(|| format!("{name} {text}")))
    };
    let (rows, pairs) = (number("--rows", 1_000_000)?, number("--pairs", 5)?);
    for classes in [3, 5] {
        let labels: Vec<u32> = (0..rows).map(|row| scattered(row) % classes).collect();
        // Of each run about 15 % of the rows are wrong, of the variant 13 %.
        let run = |run: u32, wrong: u32| -> Vec<u32> {
            let other = |(row, label): (usize, &u32)| {
                let dice = scattered(row as u32 ^ scattered(run)) % 100;
                if dice < wrong { (label + 1) % classes } else { *label }
            };
            labels.iter().enumerate().map(other).collect()
        };
        let models: Vec<[Vec<u32>; 2]> = (0..pairs).map(|pair| [run(2 * pair, 15), run(2 * pair + 1, 13)]).collect();
        let models = models.iter().map(|[a, b]| [a.as_slice(), b.as_slice()]).collect();
        let rows_of_pairs = PairedRows::new(&labels, classes as usize, models)?;
        let begin = Instant::now();
        let found = two_level(&rows_of_pairs, &Silent)?;
        println!(
            "{rows} rows, {pairs} pairs, {classes} classes: {:.2} s, accuracy {:+.4} … {:+.4}",
            begin.elapsed().as_secs_f64(),
            found.accuracy.interval.low,
            found.accuracy.interval.high
        );
    }
    Ok(())
}

/// A number that looks random; numbers that follow each other are far apart (Murmur3's finalizer).
fn scattered(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}
