//! Almost stochastic order: how far one method is from being better at every quantile.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// Draws of the bootstrap, as many as deep-significance takes.
const DRAWS: u64 = 1000;
/// Every comparison draws the same runs.
const SEED: u64 = 0;
/// The 95 % quantile of the standard normal distribution.
const QUANTILE: f64 = 1.644_853_626_951_472_2;

/// The upper bound ε of the violation ratio, at the 95 % level: below 0.5 the variant is almost stochastically better than the
/// baseline, and below 0.2 reliably so. None if either has no scores, or one is NaN or infinite.
///
/// Dror, Shlomov and Reichart (2019), as implemented by deep-significance (Ulmer et al., 2022): ε is the violation ratio
/// plus 1.645 standard deviations of its bootstrap, within 0 and 1. The integrals are exact sums here; deep-significance
/// adds up 200 points of the quantile functions.
pub fn almost_stochastic_order(variant: &[f64], baseline: &[f64]) -> Option<f64> {
    let known = |scores: &[f64]| !scores.is_empty() && scores.iter().all(|score| score.is_finite());
    if !known(variant) || !known(baseline) {
        return None;
    }
    let ratio = violation_ratio(variant, baseline);
    let draw = |draw| {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        rng.set_stream(draw);
        let drawn = [variant, baseline].map(|scores| sample(scores, &mut rng));
        violation_ratio(&drawn[0], &drawn[1])
    };
    let ratios: Vec<f64> = (0..DRAWS).map(draw).collect();
    let mean = ratios.iter().sum::<f64>() / DRAWS as f64;
    let variance = ratios.iter().map(|ratio| (ratio - mean) * (ratio - mean)).sum::<f64>() / DRAWS as f64;
    Some((ratio + QUANTILE * variance.sqrt()).clamp(0.0, 1.0))
}

/// As many scores as there are, drawn with replacement.
fn sample(scores: &[f64], rng: &mut ChaCha8Rng) -> Vec<f64> {
    let at = |random: u64| ((u128::from(random) * scores.len() as u128) >> 64) as usize;
    scores.iter().map(|_| scores[at(rng.next_u64())]).collect()
}

/// The share of the squared distance between the quantile functions F⁻¹ of the variant and G⁻¹ of the baseline where the
/// variant is worse: ∫ (G⁻¹ − F⁻¹)² over the t with F⁻¹(t) < G⁻¹(t), over ∫ (G⁻¹ − F⁻¹)². A half if they are equal.
pub(super) fn violation_ratio(variant: &[f64], baseline: &[f64]) -> f64 {
    let sorted = |scores: &[f64]| {
        let mut scores = scores.to_vec();
        scores.sort_unstable_by(f64::total_cmp);
        scores
    };
    let (f, g) = (sorted(variant), sorted(baseline));
    // Both are steps: at multiples of 1 / (n·m), in whole numbers, so that equal positions are equal.
    let (n, m) = (f.len(), g.len());
    let (mut i, mut j, mut from) = (0, 0, 0);
    let (mut violated, mut all) = (0.0, 0.0);
    while i < n && j < m {
        let (f_ends, g_ends) = ((i + 1) * m, (j + 1) * n);
        let to = f_ends.min(g_ends);
        let difference = g[j] - f[i];
        let area = difference * difference * (to - from) as f64;
        all += area;
        if difference > 0.0 {
            violated += area;
        }
        i += usize::from(to == f_ends);
        j += usize::from(to == g_ends);
        from = to;
    }
    if all > 0.0 { violated / all } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_at_every_quantile_is_zero_and_worse_at_every_one_is_one() {
        let (low, high) = ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6, 0.7]);
        assert_eq!((violation_ratio(&high, &low), violation_ratio(&low, &high)), (0.0, 1.0));
        assert_eq!(
            (almost_stochastic_order(&high, &low), almost_stochastic_order(&low, &high)),
            (Some(0.0), Some(1.0))
        );
        assert_eq!(violation_ratio(&low, &low), 0.5);
        assert_eq!(almost_stochastic_order(&low, &[]), None);
        assert_eq!(almost_stochastic_order(&[f64::NAN], &low), None);
    }

    #[test]
    fn the_ratio_of_a_crossing_is_the_share_of_the_areas() {
        // Quantiles 0, 3 against 1, 1: worse by 1 on one half, better by 2 on the other.
        assert_eq!(violation_ratio(&[3.0, 0.0], &[1.0, 1.0]), 0.2);
        // The same with another number of runs: t in (0, 1/2] and (1/2, 1].
        assert_eq!(violation_ratio(&[3.0, 0.0], &[1.0, 1.0, 1.0]), 0.2);
        let forth = violation_ratio(&[0.8, 0.1, 0.6], &[0.5, 0.55, 0.3, 0.7]);
        let back = violation_ratio(&[0.5, 0.55, 0.3, 0.7], &[0.8, 0.1, 0.6]);
        assert!((forth + back - 1.0).abs() < 1e-12 && forth > 0.0);
    }
}
