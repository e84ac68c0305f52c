//! n:m sparsity: of each m consecutive inputs of a neuron, at most n have a weight.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::magnitude::rank;
use super::mask::Mask;

/// The largest m: hardware supports 2:4 and 4:8, and wider groups differ little from having no pattern.
const WIDEST: usize = 32;

/// `n:m`. Matrices are `[out, in]` as in Hugging Face files, so a group is m neighbours in memory.
///
/// Source: Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021 (2:4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    /// Number of weights per group that stay.
    kept: usize,
    group: usize,
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = |part: &str| part.parse().map_err(|_| ());
        let parts = text.split_once(':').ok_or(()).and_then(|(n, m)| Ok((whole(n)?, whole(m)?)));
        match parts {
            Ok((kept, group)) if 1 <= kept && kept < group && group <= WIDEST => Ok(Self { kept, group }),
            _ => Err(format!(
                "pattern is `{text}`; it must be n:m with 1 ≤ n < m ≤ {WIDEST}, such as 2:4: of each 4 inputs, 2 keep \
                 their weight"
            )),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.to_string()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kept, self.group)
    }
}

impl Pattern {
    /// Share of the weights that the pattern sets to zero.
    pub fn sparsity(self) -> f64 {
        1.0 - self.kept as f64 / self.group as f64
    }

    /// Number of weights per group.
    pub fn group(self) -> usize {
        self.group
    }

    /// Remove the smallest weights of each group of a matrix; of equal weights the first ones. The group size must
    /// divide the number of inputs.
    pub fn mask(self, matrix: &[f32]) -> Mask {
        let mut mask = Mask::new(matrix.len());
        let mut order: Vec<usize> = Vec::with_capacity(self.group);
        for (group, weights) in matrix.chunks(self.group).enumerate() {
            order.clear();
            order.extend(0..weights.len());
            order.sort_by_key(|&at| rank(weights[at])); // A stable sort.
            order[..self.group - self.kept].iter().for_each(|at| mask.remove(group * self.group + at));
        }
        mask
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_group_keeps_its_n_largest(
            (kept, group, weights) in (2usize..=WIDEST).prop_flat_map(|m| (1..m, Just(m), 1usize..20)).prop_flat_map(
                |(n, m, groups)| (Just(n), Just(m), prop::collection::vec(-3i8..=3, m * groups))
            ),
        ) {
            let pattern: Pattern = format!("{kept}:{group}").parse().unwrap();
            let before: Vec<f32> = weights.iter().map(|w| f32::from(*w)).collect();
            let mut after = before.clone();
            let mask = pattern.mask(&before);
            mask.zero(&mut after);
            prop_assert_eq!(mask.removed(), before.len() / group * (group - kept));
            for (before, after) in before.chunks(group).zip(after.chunks(group)) {
                prop_assert!(after.iter().filter(|w| **w != 0.0).count() <= kept);
                let mut largest: Vec<f32> = before.iter().map(|w| w.abs()).collect();
                largest.sort_by(|a, b| b.total_cmp(a));
                let sum: f32 = after.iter().map(|w| w.abs()).sum();
                prop_assert_eq!(sum, largest[..kept].iter().sum::<f32>());
            }
            // A matrix that already conforms does not change.
            let once = after.clone();
            pattern.mask(&once).zero(&mut after);
            prop_assert_eq!(once, after);
        }
    }

    #[test]
    fn of_equal_weights_the_first_go() {
        let pattern: Pattern = "2:4".parse().unwrap();
        let mut weights = [1.0, -1.0, 1.0, -1.0, 3.0, 0.5, 2.0, 1.0];
        pattern.mask(&weights.clone()).zero(&mut weights);
        assert_eq!(weights, [0.0, 0.0, 1.0, -1.0, 3.0, 0.0, 2.0, 0.0]);
        assert_eq!((pattern.sparsity(), pattern.to_string()), (0.5, "2:4".to_owned()));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "2", "4:2", "4:4", "0:4", "-1:4", "2:4:8", "2:33", "a:b", "2.0:4", "99999999999999999999:4"] {
            let error = text.parse::<Pattern>().unwrap_err();
            assert!(error.starts_with(&format!("pattern is `{text}`; it must be n:m with 1 ≤ n < m ≤ 32")), "{error}");
        }
        assert!("1:2".parse::<Pattern>().is_ok() && "31:32".parse::<Pattern>().is_ok());
    }
}
