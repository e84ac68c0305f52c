//! Draws as many rows of each class as a corpus is to have.

use super::declare::take::Within;
use super::split::rank;

/// A row that may be taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub id: &'a str,
    pub label: u32,
    pub source: usize,
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub per_class: usize,
    pub within: Option<Within>,
    pub seed: u64,
}

impl Wanted {
    /// Whether each row is taken. Of each class, or of each source in it, those with the smallest hash of seed and id: a row
    /// more pushes out one row at most.
    pub(crate) fn draw(&self, rows: &[Candidate]) -> Vec<bool> {
        let classes = rows.iter().map(|row| row.label as usize + 1).max().unwrap_or(0);
        let sources = rows.iter().map(|row| row.source + 1).max().unwrap_or(0);
        let groups = if self.within.is_some() { sources } else { 1 };
        let mut of: Vec<Vec<Vec<usize>>> = vec![vec![Vec::new(); groups]; classes];
        for (at, row) in rows.iter().enumerate() {
            of[row.label as usize][if groups == 1 { 0 } else { row.source }].push(at);
        }
        let mut taken = vec![false; rows.len()];
        for class in &mut of {
            let sizes: Vec<usize> = class.iter().map(Vec::len).collect();
            for (group, count) in class.iter_mut().zip(shares(&sizes, self.per_class)) {
                group.sort_by_cached_key(|&at| rank(self.seed, "take", rows[at].id));
                group.iter().take(count).for_each(|&at| taken[at] = true);
            }
        }
        taken
    }
}

/// How many rows each group gives so that together they give `wanted`: as equal as their sizes allow. What is left after equal
/// shares goes to the first groups, one row each.
pub(crate) fn shares(sizes: &[usize], wanted: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&group| sizes[group]);
    // The level up to which all groups give what they have.
    let (mut left, mut level) = (wanted, usize::MAX);
    for (at, &group) in order.iter().enumerate() {
        let equal = left / (order.len() - at);
        if sizes[group] > equal {
            level = equal;
            break;
        }
        left -= sizes[group];
    }
    let mut shares: Vec<usize> = sizes.iter().map(|&size| size.min(level)).collect();
    let mut rest = wanted.saturating_sub(shares.iter().sum());
    for (share, &size) in shares.iter_mut().zip(sizes) {
        let more = usize::from(rest > 0 && *share < size);
        *share += more;
        rest -= more;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sources_share_equally_and_the_others_give_what_one_lacks() {
        assert_eq!(shares(&[100, 100, 100], 15), [5, 5, 5]);
        assert_eq!(shares(&[100, 2, 100], 15), [7, 2, 6]);
        assert_eq!(shares(&[1, 2, 3], 15), [1, 2, 3]);
        assert_eq!(shares(&[0, 9, 0], 4), [0, 4, 0]);
        assert_eq!(shares(&[5, 5], 1), [1, 0]);
        assert_eq!(shares(&[], 3), [0; 0]);
    }

    fn candidates(ids: &[(u16, u32, usize)]) -> Vec<String> {
        ids.iter().map(|(id, label, source)| format!("{source}:{label}:{id}")).collect()
    }

    /// The ids that are taken.
    fn taken(rows: &[(u16, u32, usize)], wanted: Wanted) -> Vec<String> {
        let ids = candidates(rows);
        let all: Vec<Candidate> = rows
            .iter()
            .zip(&ids)
            .map(|((_, label, source), id)| Candidate { id, label: *label, source: *source })
            .collect();
        ids.iter().zip(wanted.draw(&all)).filter(|(_, taken)| *taken).map(|(id, _)| id.clone()).collect()
    }

    #[test]
    fn the_rows_taken_are_the_same_on_every_machine() {
        let rows: Vec<(u16, u32, usize)> = (0..8).map(|id| (id, 0, 0)).collect();
        let wanted = Wanted { per_class: 3, within: None, seed: 42 };
        assert_eq!(taken(&rows, wanted), ["0:0:0", "0:0:5", "0:0:7"]);
    }

    fn rows(most: usize) -> impl Strategy<Value = Vec<(u16, u32, usize)>> {
        proptest::collection::vec((0_u16..500, 0_u32..3, 0_usize..4), 1..most).prop_map(|mut rows| {
            rows.sort();
            rows.dedup();
            rows
        })
    }

    proptest! {
        #[test]
        fn rows_more_push_out_no_more_rows_than_they_are(
            before in rows(120), more in rows(20), per_class in 1_usize..40, by_source in any::<bool>(), seed in 0_u64..4,
        ) {
            let wanted = Wanted { per_class, within: by_source.then_some(Within::Source), seed };
            let more: Vec<_> = more.into_iter().filter(|row| !before.contains(row)).collect();
            let mut after: Vec<_> = before.iter().chain(&more).copied().collect();
            after.reverse(); // Their order does not count.
            let (old, new) = (taken(&before, wanted), taken(&after, wanted));
            let lost = old.iter().filter(|id| !new.contains(id)).count();
            prop_assert!(lost <= more.len(), "{lost} of {} lost by {} more", old.len(), more.len());
            for label in 0..3 {
                let has = after.iter().filter(|row| row.1 == label).count();
                let of = new.iter().filter(|id| id.split(':').nth(1) == Some(&label.to_string())).count();
                prop_assert_eq!(of, has.min(per_class));
            }
        }
    }
}
