//! What `take` asked for of each class, and what it got.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::labels::spelling::{LISTED, quoted};
use crate::compute::numbers::{rows, thousands};

/// What was taken of one class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// `train` or `test`.
    pub split: String,
    pub label: String,
    pub wanted: u64,
    /// The sources that have rows of it.
    pub sources: Vec<TakenOf>,
    /// Training rows that `fill` added after validation rows were set aside.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub made: u64,
}

/// What was taken of one class from one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOf {
    pub name: String,
    pub had: u64,
    pub taken: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Taken {
    pub fn taken(&self) -> u64 {
        self.sources.iter().map(|source| source.taken).sum()
    }

    pub fn is_short(&self) -> bool {
        self.taken() < self.wanted
    }

    /// `label `neutral` has 7 of the 10 train rows that `take` asks for (tweets 5, more 2)`.
    fn shortfall(&self) -> String {
        let from: Vec<String> =
            self.sources.iter().map(|source| format!("{} {}", source.name, thousands(source.had))).collect();
        let from = if from.is_empty() { String::new() } else { format!(" ({})", from.join(", ")) };
        let (label, has, wanted) = (quoted(&self.label), thousands(self.taken()), rows_of(self.wanted, &self.split));
        format!("label {label} has {has} of the {wanted} that `take` asks for{from}")
    }

    /// Which sources gave all that they have although their equal share is more.
    fn uneven(&self) -> Option<String> {
        let most = self.sources.iter().map(|source| source.taken).max()?;
        // One row of a difference is a share that cannot be divided.
        let short = self.sources.iter().filter(|source| source.taken == source.had && source.taken + 1 < most);
        let short: Vec<String> = short.map(|source| format!("{} has {}", source.name, thousands(source.had))).collect();
        let others = self.sources.iter().filter(|source| source.taken < source.had || source.taken == most);
        let others: Vec<String> = others.map(|source| format!("{} {}", source.name, thousands(source.taken))).collect();
        (!short.is_empty() && !self.is_short()).then(|| {
            format!(
                "label {} ({}): {}, less than its share; the others fill it up: {}",
                quoted(&self.label),
                self.split,
                short.join(", "),
                others.join(", ")
            )
        })
    }

    /// What users should know of classes with too few rows and of sources with too few.
    pub(crate) fn notes(all: &[Self], by_source: bool) -> Vec<String> {
        let short = all.iter().filter(|taken| taken.is_short()).map(Self::shortfall);
        let uneven = all.iter().filter(|_| by_source).filter_map(Self::uneven);
        let mut notes: Vec<String> = short.chain(uneven).collect();
        if notes.len() > 2 * LISTED {
            let more = notes.len() - 2 * LISTED;
            notes.truncate(2 * LISTED);
            notes.push(format!("and {more} more notes of `take`; all are in corpus.json"));
        }
        notes
    }

    /// Fail if a class has too few rows.
    pub(crate) fn complete(all: &[Self]) -> Result<()> {
        let short: Vec<String> = all.iter().filter(|taken| taken.is_short()).map(Self::shortfall).collect();
        if short.is_empty() {
            return Ok(());
        }
        let more = if short.len() > LISTED { format!("\nand {} more", short.len() - LISTED) } else { String::new() };
        let lines = short.iter().take(LISTED).cloned().collect::<Vec<_>>().join("\n");
        bail!("{lines}{more}\nask for fewer, add rows, or let `fill` be \"augment\" or \"repeat\" (training rows only)")
    }
}

/// `10 train rows`.
fn rows_of(count: u64, split: &str) -> String {
    rows(count).replacen(' ', &format!(" {split} "), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(wanted: u64, sources: &[(&str, u64, u64)]) -> Taken {
        let of = |&(name, had, taken): &(&str, u64, u64)| TakenOf { name: name.into(), had, taken };
        let sources = sources.iter().map(of).collect();
        Taken { split: "train".into(), label: "neutral".into(), wanted, sources, made: 0 }
    }

    #[test]
    fn shortfalls_of_classes_and_of_sources_are_told() {
        let all = [
            taken(15_000, &[("tweets", 7_093, 7_093)]),
            taken(15_000, &[("imdb", 12_500, 7_500), ("sst", 3_310, 3_310), ("tweets", 4_190, 4_190)]),
            taken(15, &[("a", 9, 5), ("b", 5, 5), ("c", 8, 5)]),
        ];
        assert_eq!(
            Taken::notes(&all, true),
            [
                "label `neutral` has 7,093 of the 15,000 train rows that `take` asks for (tweets 7,093)",
                "label `neutral` (train): sst has 3,310, tweets has 4,190, less than its share; the others fill it up: imdb 7,500",
            ]
        );
        assert_eq!(Taken::notes(&all, false).len(), 1);
        assert_eq!(
            Taken::complete(&all).unwrap_err().to_string(),
            "label `neutral` has 7,093 of the 15,000 train rows that `take` asks for (tweets 7,093)\n\
             ask for fewer, add rows, or let `fill` be \"augment\" or \"repeat\" (training rows only)"
        );
        assert!(Taken::complete(&all[1..]).is_ok());
        assert_eq!(taken(1, &[]).shortfall(), "label `neutral` has 0 of the 1 train row that `take` asks for");
    }
}
