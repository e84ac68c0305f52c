//! Masks of the weights that are held at zero.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use rayon::prelude::*;

const WORD: usize = u64::BITS as usize;
/// Words that one thread processes at a time: 128 KiB of weights.
const WORDS: usize = 512;
/// Weights per number of [`Mask::to_numbers`]: an f32 represents every integer of this many bits.
const NUMBER: usize = 24;

/// One bit per weight, set if the weight is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    words: Vec<u64>,
    len: usize,
}

/// Masks by parameter name.
pub type Masks = BTreeMap<String, Mask>;

impl Mask {
    /// A mask that removes none of `len` weights.
    pub fn new(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(WORD)], len }
    }

    pub fn remove(&mut self, at: usize) {
        self.words[at / WORD] |= 1 << (at % WORD);
    }

    /// Also remove the weights that are already zero.
    pub fn remove_zeros(&mut self, values: &[f32]) {
        debug_assert_eq!(values.len(), self.len);
        self.words.par_iter_mut().zip(values.par_chunks(WORD)).for_each(|(word, values)| {
            *word |= values.iter().enumerate().fold(0, |bits, (bit, value)| bits | u64::from(*value == 0.0) << bit);
        });
    }

    /// Number of weights in the matrix.
    pub fn weights(&self) -> usize {
        self.len
    }

    /// Number of removed weights.
    pub fn removed(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Set the removed values to zero. There must be one value per weight.
    pub fn zero(&self, values: &mut [f32]) {
        debug_assert_eq!(values.len(), self.len);
        let chunks = values.par_chunks_mut(WORDS * WORD).zip(self.words.par_chunks(WORDS));
        chunks.for_each(|(values, words)| {
            for (values, word) in values.chunks_mut(WORD).zip(words) {
                bits(*word).for_each(|bit| values[bit] = 0.0);
            }
        });
    }

    /// The mask of the transpose of a matrix with this many columns.
    pub fn transposed(&self, columns: usize) -> Self {
        let rows = self.len.checked_div(columns).unwrap_or(0);
        let mut turned = Self::new(self.len);
        for at in self.places() {
            turned.remove(at % columns * rows + at / columns);
        }
        turned
    }

    /// Positions of the removed weights, in order.
    fn places(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(place, word)| bits(*word).map(move |bit| place * WORD + bit))
    }

    /// One value per weight, true if it is removed.
    pub fn to_bools(&self) -> Vec<bool> {
        let mut bools = vec![false; self.len];
        self.places().for_each(|at| bools[at] = true);
        bools
    }

    /// Numbers for a checkpoint: each is the sum of 2^i over the removed weights among 24.
    pub fn to_numbers(&self) -> Vec<f32> {
        let mut numbers = vec![0u32; self.len.div_ceil(NUMBER)];
        self.places().for_each(|at| numbers[at / NUMBER] |= 1 << (at % NUMBER));
        numbers.into_iter().map(|number| number as f32).collect()
    }

    /// The mask of `len` weights that [`to_numbers`](Self::to_numbers) encoded.
    pub fn from_numbers(numbers: &[f32], len: usize) -> Result<Self> {
        ensure!(numbers.len() == len.div_ceil(NUMBER), "{} numbers do not encode {len} weights", numbers.len());
        let mut mask = Self::new(len);
        for (place, number) in numbers.iter().enumerate() {
            for at in bits(*number as u64).map(|bit| place * NUMBER + bit) {
                ensure!(at < len, "{number} does not encode a part of a mask");
                mask.remove(at);
            }
        }
        Ok(mask)
    }
}

/// Positions of the set bits.
fn bits(word: u64) -> impl Iterator<Item = usize> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let bit = rest.trailing_zeros() as usize;
        (rest != 0).then(|| rest &= rest - 1).map(|()| bit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(removed: &[bool]) -> Mask {
        let mut mask = Mask::new(removed.len());
        removed.iter().enumerate().filter(|(_, removed)| **removed).for_each(|(at, _)| mask.remove(at));
        mask
    }

    proptest! {
        #[test]
        fn a_mask_zeroes_what_it_removes_and_survives_a_checkpoint(
            removed in prop::collection::vec(any::<bool>(), 0..400),
            columns in 1usize..30,
        ) {
            let mask = mask(&removed);
            prop_assert_eq!(mask.removed(), removed.iter().filter(|r| **r).count());
            prop_assert_eq!(&mask.to_bools(), &removed);
            let mut values: Vec<f32> = (1..=removed.len()).map(|i| i as f32).collect();
            mask.zero(&mut values);
            for (at, value) in values.iter().enumerate() {
                prop_assert_eq!(*value, if removed[at] { 0.0 } else { at as f32 + 1.0 });
            }
            let numbers = mask.to_numbers();
            prop_assert_eq!(&Mask::from_numbers(&numbers, mask.weights()).unwrap(), &mask);
            prop_assert!(Mask::from_numbers(&[&numbers[..], &[0.0]].concat(), mask.weights()).is_err());

            let whole = removed.len() / columns * columns;
            let matrix = self::mask(&removed[..whole]);
            let turned = matrix.transposed(columns);
            for (at, removed) in removed[..whole].iter().enumerate() {
                let there = at % columns * (whole / columns) + at / columns;
                prop_assert_eq!(turned.to_bools()[there], *removed);
            }
            if whole > 0 {
                prop_assert_eq!(turned.transposed(whole / columns), matrix);
            }
        }
    }

    #[test]
    fn a_mask_longer_than_one_threads_share_is_applied_whole() {
        let removed: Vec<bool> = (0..3 * WORDS * WORD + 17).map(|i| i % 3 == 0).collect();
        let mut values = vec![1.0; removed.len()];
        mask(&removed).zero(&mut values);
        assert!(values.iter().zip(&removed).all(|(value, removed)| *value == f32::from(u8::from(!removed))));
    }

    #[test]
    fn numbers_beyond_the_last_weight_are_refused() {
        assert!(Mask::from_numbers(&[16.0], 4).is_err());
    }
}
