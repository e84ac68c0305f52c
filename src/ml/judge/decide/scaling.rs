//! Temperature scaling: one number that divides the logits so that the probabilities fit the labels best.

use rayon::prelude::*;

use super::labelled::Labelled;

/// The logarithm of β = 1 / temperature is sought between these, as scikit-learn does: temperatures from 0.000045 to 22,026.
pub const BOUNDS: (f64, f64) = (-10.0, 10.0);

/// Rows per piece of a sum. Fixed, so that the sum is the same for every number of threads.
const PIECE: usize = 4096;
/// Halvings of the interval: 20 · 2⁻⁶⁰ is below the spacing of doubles near 1.
const HALVINGS: usize = 60;

/// The temperature T that minimises the mean cross-entropy of softmax(logits / T): Guo et al. (2017).
///
/// The cross-entropy is convex in β = 1 / T, so its derivative has one zero, which bisection over log β finds to the last
/// digits; scikit-learn's `CalibratedClassifierCV(method="temperature")` minimises the same function of log β by Brent's
/// method in the same bounds. If all rows are right at any temperature, the least one is returned; if the logits say
/// nothing, the greatest.
pub fn temperature(rows: &Labelled) -> f64 {
    let (mut low, mut high) = BOUNDS;
    if slope(rows, low.exp()) >= 0.0 {
        return (-low).exp();
    }
    if slope(rows, high.exp()) <= 0.0 {
        return (-high).exp();
    }
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        match slope(rows, middle.exp()) {
            slope if slope > 0.0 => high = middle,
            _ => low = middle,
        }
    }
    (-(low + high) / 2.0).exp()
}

/// The derivative of the cross-entropy by β, summed over the rows: Σ (Σ_c p_c z_c − z_label).
fn slope(rows: &Labelled, beta: f64) -> f64 {
    let pieces: Vec<f64> = rows
        .logits
        .par_chunks(PIECE * rows.classes)
        .zip(rows.labels.par_chunks(PIECE))
        .map(|(logits, labels)| {
            logits.chunks(rows.classes).zip(labels).map(|(row, &label)| slope_of(row, label as usize, beta)).sum()
        })
        .collect();
    pieces.iter().sum()
}

fn slope_of(row: &[f32], label: usize, beta: f64) -> f64 {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for &z in row {
        // Relative to the greatest logit: the derivative is the same, and nothing overflows.
        let z = f64::from(z - max);
        let e = (beta * z).exp();
        sum += e;
        weighted += e * z;
    }
    weighted / sum - f64::from(row[label] - max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(logits: &[f32], labels: &[u32]) -> f64 {
        temperature(&Labelled { logits, labels, classes: 2 })
    }

    #[test]
    fn the_temperature_makes_the_confidence_the_share_of_right_rows() {
        // Three of four rows right at a margin of 4: softmax gives 3/4 at a margin of ln 3.
        let t = of(&[4.0, 0.0, 4.0, 0.0, 0.0, 4.0, 4.0, 0.0], &[0, 0, 1, 1]);
        assert!((t - 4.0 / 3f64.ln()).abs() < 1e-12, "{t}");
    }

    #[test]
    fn rows_that_are_all_right_or_say_nothing_end_at_a_bound() {
        assert_eq!(of(&[1.0, 0.0, 0.0, 1.0], &[0, 1]), (-10f64).exp());
        assert_eq!(of(&[1.0, 0.0, 0.0, 1.0], &[1, 0]), 10f64.exp());
        assert_eq!(of(&[0.5, 0.5], &[1]), 10f64.exp());
    }
}
