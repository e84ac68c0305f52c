//! Texts that occur more than once or nearly so, and those that leak from one split into another.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::text::near::{Near, near_duplicates};

/// Near-duplicates within and across splits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Duplicates {
    /// The Jaccard similarity of word triples from which on texts count as near.
    pub threshold: f64,
    /// Rows whose words an earlier row has in the same order, regardless of case, signs and links.
    pub same: u64,
    /// Pairs of texts that are near but not the same.
    pub near_pairs: u64,
    /// Rows that are the same as another or near to one.
    pub rows: u64,
    /// Groups of such rows.
    pub groups: u64,
    /// Of the pairs in `links`, those whose labels differ.
    pub contradicting: u64,
    /// Training rows that are the same as a validation or test row or near to one.
    pub train_leaks: u64,
    /// Validation rows that are the same as a test row or near to one.
    pub validation_leaks: u64,
    /// The pairs: of texts that are the same, each with the first of them.
    #[serde(skip)]
    pub links: Vec<Link>,
}

/// Two rows that are the same or near.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    pub one: usize,
    pub other: usize,
    /// 1 if they are the same.
    pub similarity: f64,
}

/// What is known of a row: its split, 0 for train, 1 for validation, 2 for test; and its label.
pub(super) type Kept = (u8, u32);

impl Duplicates {
    pub(super) fn of(texts: &[&str], rows: &[Kept], threshold: f64) -> Self {
        let near = near_duplicates(texts, threshold);
        let links = links(&near);
        let groups = near.groups();
        let mut sizes: HashMap<usize, u64> = HashMap::new();
        groups.iter().for_each(|group| *sizes.entry(*group).or_default() += 1);
        let reach = reached(&near, rows);
        let leaks = |split: u8, into: u8| {
            let is_leak = |row: &usize| rows[*row].0 == split && reach[*row] & into != 0;
            (0..rows.len()).filter(is_leak).count() as u64
        };
        Duplicates {
            threshold,
            same: near.first.iter().enumerate().filter(|(row, first)| row != *first).count() as u64,
            near_pairs: near.pairs.len() as u64,
            rows: sizes.values().filter(|size| **size > 1).sum(),
            groups: sizes.values().filter(|size| **size > 1).count() as u64,
            contradicting: links.iter().filter(|link| rows[link.one].1 != rows[link.other].1).count() as u64,
            train_leaks: leaks(0, 0b110),
            validation_leaks: leaks(1, 0b100),
            links,
        }
    }
}

fn links(near: &Near) -> Vec<Link> {
    let same = near.first.iter().enumerate().filter(|(row, first)| row != *first);
    let same = same.map(|(row, first)| Link { one: *first, other: row, similarity: 1.0 });
    let pairs = near.pairs.iter().map(|pair| Link { one: pair.one, other: pair.other, similarity: pair.similarity });
    let mut all: Vec<Link> = same.chain(pairs).collect();
    all.sort_by_key(|link| (link.one, link.other));
    all
}

/// For each row, the splits (bit 0 for train, 1, 2) of the rows that are the same or near, itself included.
fn reached(near: &Near, rows: &[Kept]) -> Vec<u8> {
    let mut own = vec![0_u8; rows.len()];
    near.first.iter().zip(rows).for_each(|(first, (split, _))| own[*first] |= 1 << split);
    let mut all = own.clone();
    for pair in &near.pairs {
        all[pair.one] |= own[pair.other];
        all[pair.other] |= own[pair.one];
    }
    near.first.iter().map(|first| all[*first]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaks_are_rows_that_another_split_has_too() {
        let long = "one two three four five six seven eight nine ten eleven twelve";
        let near = format!("{long} thirteen");
        let nearer = format!("{near} fourteen");
        let texts = [long, &near, long, "something else", &nearer, "Something ELSE!", "alone here now"];
        let rows = [(0, 0), (2, 0), (0, 1), (0, 0), (1, 0), (0, 0), (0, 0)];
        let found = Duplicates::of(&texts, &rows, 0.8);
        // 10 and 11 word triples; 12 of the longest.
        assert_eq!((found.same, found.near_pairs, found.rows, found.groups), (2, 3, 6, 2));
        assert_eq!((found.train_leaks, found.validation_leaks, found.contradicting), (2, 1, 1));
        assert_eq!(found.links.len(), 5);
    }
}
