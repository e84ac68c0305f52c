//! Which rows go because they are nearly the text of another row.

use std::collections::HashMap;

use super::declare::purpose::Purpose;
use crate::text::near::near_duplicates;

/// A row that may be nearly another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub text: &'a str,
    pub label: u32,
    pub purpose: Purpose,
}

/// Which rules hold, as for equal texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// The least similarity (Jaccard, of sequences of three words) that counts as near.
    pub threshold: f64,
    pub leakage: bool,
    pub dedupe: bool,
}

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stay,
    /// A training row near one of validation or test, or a validation row near one of test.
    Leak,
    /// A row near an earlier one of its split that has the same label and stays.
    Repeat,
}

/// The fate of each row, and how many pairs of near rows of one split stay because their labels differ: a single word can make
/// another label, so near rows do not contradict each other as equal ones do.
pub(crate) fn fates(rows: &[Candidate], rules: Rules) -> (Vec<Fate>, u64) {
    let texts: Vec<&str> = rows.iter().map(|row| row.text).collect();
    let near = near_duplicates(&texts, rules.threshold);
    // Rows by the first row with their words, and which of these are near each other.
    let mut same: HashMap<usize, Vec<usize>> = HashMap::new();
    near.first.iter().enumerate().for_each(|(row, first)| same.entry(*first).or_default().push(row));
    let mut beside: HashMap<usize, Vec<usize>> = HashMap::new();
    for pair in &near.pairs {
        beside.entry(pair.one).or_default().push(pair.other);
        beside.entry(pair.other).or_default().push(pair.one);
    }
    let neighbours = |row: usize| {
        let first = near.first[row];
        let groups = std::iter::once(first).chain(beside.get(&first).into_iter().flatten().copied());
        groups.flat_map(|group| same.get(&group).into_iter().flatten().copied()).filter(move |other| *other != row)
    };
    let mut fates = vec![Fate::Stay; rows.len()];
    let mut different = 0;
    for (row, of) in rows.iter().enumerate() {
        let purposes: Vec<Purpose> =
            if rules.leakage { neighbours(row).map(|at| rows[at].purpose).collect() } else { Vec::new() };
        let leaks = match of.purpose {
            Purpose::Train => purposes.iter().any(|purpose| *purpose != Purpose::Train),
            Purpose::Validation => purposes.contains(&Purpose::Test),
            Purpose::Test => false,
        };
        if leaks {
            fates[row] = Fate::Leak;
            continue;
        }
        if !rules.dedupe || of.purpose == Purpose::Test {
            continue;
        }
        let earlier =
            || neighbours(row).filter(|&at| at < row && rows[at].purpose == of.purpose && fates[at] == Fate::Stay);
        if earlier().any(|at| rows[at].label == of.label) {
            fates[row] = Fate::Repeat;
        } else {
            different += earlier().count() as u64;
        }
    }
    (fates, different)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "please do not panic buy food today there is enough for every one of us in all of the stores";

    fn row<'a>(text: &'a str, label: u32, purpose: Purpose) -> Candidate<'a> {
        Candidate { text, label, purpose }
    }

    #[test]
    fn near_rows_go_by_the_rules_of_equal_ones() {
        let (now, week) = (LONG.replace("today", "now"), LONG.replace("today", "weekly"));
        let rows = [
            row(LONG, 0, Purpose::Train),
            row(&now, 0, Purpose::Train),
            row(&week, 1, Purpose::Train),
            row("another text that is near to none of the others here", 0, Purpose::Train),
            row("it is here that all of the test rows and their texts are to be found", 0, Purpose::Test),
            row("it is here that all of the test rows and their texts can be found", 0, Purpose::Test),
            row("It is here that all of the test rows and their texts may be found!", 1, Purpose::Train),
        ];
        let rules = Rules { threshold: 0.6, leakage: true, dedupe: true };
        use Fate::{Leak, Repeat, Stay};
        assert_eq!(fates(&rows, rules), (vec![Stay, Repeat, Stay, Stay, Stay, Stay, Leak], 1));
        assert_eq!(fates(&rows, Rules { leakage: false, ..rules }).0[6], Stay);
        assert_eq!(fates(&rows, Rules { dedupe: false, ..rules }).0[1], Stay);
        assert_eq!(fates(&rows, Rules { threshold: 0.95, ..rules }), (vec![Stay; 7], 0));
    }
}
