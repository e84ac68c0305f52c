//! Random numbers of one copy of one row: they depend on nothing else.

use std::fmt;

/// A stream of draws.
pub(crate) struct Draws(blake3::OutputReader);

impl fmt::Debug for Draws {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Draws")
    }
}

impl Draws {
    /// The stream of copy `copy` of the row `id`. It does not depend on other rows, threads, or a library's generator.
    pub(crate) fn of(seed: u64, id: &str, copy: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(b"augment\0");
        hasher.update(&copy.to_le_bytes());
        hasher.update(id.as_bytes());
        Self(hasher.finalize_xof())
    }

    /// A number below `bound`; 0 if `bound` is 0. Its bias is below 1e-12 for every length of a text.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        (u64::from_le_bytes(bytes) % (bound as u64).max(1)) as usize
    }

    /// One of them; None if there is none.
    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = self.below(of.len());
        of.get(at)
    }

    /// `count` different ones of them, or all in a random order if they are fewer.
    pub(crate) fn some<T: Copy>(&mut self, of: &[T], count: usize) -> Vec<T> {
        let mut all = of.to_vec();
        let count = count.min(all.len());
        for at in 0..count {
            let other = at + self.below(all.len() - at);
            all.swap(at, other);
        }
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_belongs_to_seed_row_and_copy() {
        let first = |seed, id, copy| {
            let mut draws = Draws::of(seed, id, copy);
            (0..4).map(|_| draws.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(first(42, "train:1", 1), first(42, "train:1", 1));
        assert_eq!(first(42, "train:1", 1), [FIRST[0], FIRST[1], FIRST[2], FIRST[3]]);
        for other in [first(43, "train:1", 1), first(42, "train:2", 1), first(42, "train:1", 2)] {
            assert_ne!(other, first(42, "train:1", 1));
        }
    }

    /// As the first run gave it: other numbers would change every augmented corpus.
    const FIRST: [usize; 4] = [528, 815, 745, 167];

    #[test]
    fn some_are_different_and_no_more_than_there_are() {
        let mut draws = Draws::of(1, "a", 1);
        let mut all = draws.some(&[1, 2, 3, 4, 5], 9);
        all.sort();
        assert_eq!(all, [1, 2, 3, 4, 5]);
        assert_eq!(draws.some(&[7], 1), [7]);
        assert_eq!((draws.some::<u8>(&[], 2), draws.one::<u8>(&[])), (vec![], None));
    }
}
