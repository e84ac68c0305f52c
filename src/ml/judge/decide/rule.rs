//! How a label is chosen from probabilities.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::compute::numbers::argmax;

/// How a label is chosen from the probabilities p of a row. Of equal candidates the first label wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "choose", rename_all = "kebab-case")]
pub enum Rule {
    /// The most probable label.
    Argmax,
    /// Among the labels c with p_c ≥ τ_c, the one with the highest (p_c / τ_c) · f_c / Σ f, where f are the frequencies in the
    /// training rows and the sum is over those labels; the most probable label if there are none.
    Thresholds { thresholds: Vec<f64>, frequencies: Vec<f64> },
    /// The label with the highest p_c · w_c.
    Weights { weights: Vec<f64> },
    /// The label with the least expected cost: `cost[c][d]` is the cost of the label d for a row of label c.
    Cost { cost: Vec<Vec<f64>> },
}

impl Rule {
    /// `log_p` `[C]` → the index of the label.
    pub fn choose(&self, log_p: &[f64]) -> usize {
        match self {
            Self::Argmax => argmax(log_p),
            Self::Thresholds { thresholds, frequencies } => {
                // The sum over the candidates is the same for all of them and changes no order.
                let score = |c: usize| {
                    let p = log_p[c].exp();
                    (p >= thresholds[c]).then(|| p / thresholds[c] * frequencies[c])
                };
                let mut best: Option<(usize, f64)> = None;
                for (c, score) in (0..log_p.len()).filter_map(|c| Some((c, score(c)?))) {
                    if best.is_none_or(|(_, most)| score > most) {
                        best = Some((c, score));
                    }
                }
                best.map_or_else(|| argmax(log_p), |(c, _)| c)
            }
            Self::Weights { weights } => {
                let score = |c: usize| log_p[c] + weights[c].ln();
                (1..log_p.len()).fold((0, score(0)), |best, c| if score(c) > best.1 { (c, score(c)) } else { best }).0
            }
            Self::Cost { cost } => {
                let expected = |d: usize| log_p.iter().zip(cost).map(|(l, row)| l.exp() * row[d]).sum::<f64>();
                (1..log_p.len())
                    .fold((0, expected(0)), |best, d| if expected(d) < best.1 { (d, expected(d)) } else { best })
                    .0
            }
        }
    }

    /// Whether all numbers are there for this many labels and can be used.
    pub(super) fn check(&self, classes: usize) -> Result<()> {
        let check = |what: &str, values: &[f64], is_valid: fn(&f64) -> bool| {
            ensure!(values.len() == classes, "{} {what} for {classes} labels", values.len());
            match values.iter().find(|value| !is_valid(value)) {
                Some(value) => anyhow::bail!("{value} is not valid among the {what}"),
                None => Ok(()),
            }
        };
        match self {
            Self::Argmax => Ok(()),
            Self::Thresholds { thresholds, frequencies } => {
                check("thresholds", thresholds, |t| t.is_finite() && *t > 0.0)?;
                check("frequencies", frequencies, |f| (0.0..=1.0).contains(f))
            }
            Self::Weights { weights } => check("weights", weights, |w| w.is_finite() && *w > 0.0),
            Self::Cost { cost } => {
                ensure!(cost.len() == classes, "{} rows of costs for {classes} labels", cost.len());
                cost.iter().try_for_each(|row| check("costs of a row", row, |x| x.is_finite()))
            }
        }
    }

    /// The same with the labels in another order: label `i` is the one that was at `order[i]`.
    pub(super) fn in_order(&self, order: &[usize]) -> Self {
        let pick = |values: &[f64]| order.iter().map(|&from| values[from]).collect::<Vec<_>>();
        match self {
            Self::Argmax => Self::Argmax,
            Self::Thresholds { thresholds, frequencies } => {
                Self::Thresholds { thresholds: pick(thresholds), frequencies: pick(frequencies) }
            }
            Self::Weights { weights } => Self::Weights { weights: pick(weights) },
            Self::Cost { cost } => Self::Cost { cost: order.iter().map(|&from| pick(&cost[from])).collect() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(p: &[f64]) -> Vec<f64> {
        p.iter().map(|p| p.ln()).collect()
    }

    // Worked by hand, from the description of the procedure.
    #[test]
    fn the_thresholds_rule_is_that_of_the_procedure() {
        let rule = Rule::Thresholds { thresholds: vec![0.25, 0.25, 0.5], frequencies: vec![0.2, 0.5, 0.3] };
        // V = {0, 1}: 0.5/0.25 · 0.2/0.7 = 0.571; 0.3/0.25 · 0.5/0.7 = 0.857. The label 1 wins, though 0 is more probable.
        assert_eq!(rule.choose(&logs(&[0.5, 0.3, 0.2])), 1);
        // V = {0, 2}: 0.4/0.25 · 0.2/0.5 = 0.64; 0.5/0.5 · 0.3/0.5 = 0.6.
        assert_eq!(rule.choose(&logs(&[0.39, 0.1, 0.51])), 0);
        // V = {2} alone.
        assert_eq!(rule.choose(&logs(&[0.2, 0.2, 0.6])), 2);
        // V is empty: the most probable.
        let strict = Rule::Thresholds { thresholds: vec![0.9; 3], frequencies: vec![0.2, 0.5, 0.3] };
        assert_eq!(strict.choose(&logs(&[0.3, 0.3, 0.4])), 2);
        // No candidate was trained on: the first of them.
        let never = Rule::Thresholds { thresholds: vec![0.1, 0.1, 1.0], frequencies: vec![0.0, 0.0, 1.0] };
        assert_eq!(never.choose(&logs(&[0.2, 0.5, 0.3])), 0);
    }

    #[test]
    fn weights_and_costs_choose_by_hand_worked_products() {
        let weights = Rule::Weights { weights: vec![1.0, 2.0, 1.0] };
        assert_eq!(weights.choose(&logs(&[0.5, 0.3, 0.2])), 1);
        assert_eq!(weights.choose(&logs(&[0.5, 0.2, 0.3])), 0);
        // To call a row of label 0 anything else costs 10: at p₀ = 0.1 the cost of "1" is 1.0, that of "0" is 0.9.
        let cost = Rule::Cost { cost: vec![vec![0.0, 10.0], vec![1.0, 0.0]] };
        assert_eq!(cost.choose(&logs(&[0.1, 0.9])), 0);
        assert_eq!(cost.choose(&logs(&[0.05, 0.95])), 1);
        // Zeros and ones give the most probable label, and probabilities of zero are harmless.
        let plain = Rule::Cost { cost: vec![vec![0.0, 1.0, 1.0], vec![1.0, 0.0, 1.0], vec![1.0, 1.0, 0.0]] };
        assert_eq!(plain.choose(&logs(&[0.0, 0.4, 0.6])), 2);
        assert_eq!(weights.choose(&logs(&[0.0, 0.4, 0.6])), 1);
    }

    #[test]
    fn another_order_of_the_labels_chooses_the_same_labels() {
        let p = logs(&[0.5, 0.3, 0.2]);
        let order = [2, 0, 1];
        let turned: Vec<f64> = order.iter().map(|&from| p[from]).collect();
        for rule in [
            Rule::Argmax,
            Rule::Thresholds { thresholds: vec![0.25, 0.25, 0.5], frequencies: vec![0.2, 0.5, 0.3] },
            Rule::Weights { weights: vec![1.0, 2.0, 4.0] },
            Rule::Cost { cost: vec![vec![0.0, 1.0, 2.0], vec![3.0, 0.0, 1.0], vec![9.0, 1.0, 0.0]] },
        ] {
            assert_eq!(order[rule.in_order(&order).choose(&turned)], rule.choose(&p), "{rule:?}");
        }
    }
}
