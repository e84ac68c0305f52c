//! Groups rows of tokens into padded batches of about equal length.

use burn::tensor::{Bool, Device, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data::tokens::Split;
use super::ids::Ids;

/// How a batch is padded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// Pad to the longest row of the batch, and batch rows of about equal length.
    #[default]
    Bucketed,
    /// Pad to this width, and take rows in plain shuffled order.
    Fixed(usize),
}

/// Some rows of a split as one padded array on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Positions of the rows in their split.
    pub rows: Vec<usize>,
    /// One label per row.
    pub labels: Vec<u32>,
    /// `[B, T]`, row by row. Burn converts them to the device's type of integer.
    pub ids: Vec<u32>,
    /// `[B, T]`, which text of a pair each token belongs to; empty if all are 0, as padding is.
    pub types: Vec<u32>,
    /// `[B, T]`, true for a real token.
    pub mask: Vec<bool>,
    /// T.
    pub width: usize,
    /// Number of real tokens; the rest of B · T is padding.
    pub tokens: usize,
}

impl Batch {
    /// Collect `rows` of `split` into one batch, padded on the right with `pad_id`.
    pub fn collect(split: &Split, rows: &[usize], pad_id: u32, padding: Padding) -> Self {
        let width = match padding {
            Padding::Bucketed => rows.iter().map(|&row| split.row(row).len()).max().unwrap_or(0).max(1),
            Padding::Fixed(width) => width,
        };
        let mut ids = Vec::with_capacity(rows.len() * width);
        let mut mask = Vec::with_capacity(rows.len() * width);
        let (mut types, mut tokens) = (Vec::new(), 0);
        for &row in rows {
            let of_tokens = split.types(row);
            let row = split.row(row);
            let row = &row[..row.len().min(width)];
            if !of_tokens.is_empty() {
                types.extend(of_tokens[..row.len()].iter().map(|kind| u32::from(*kind)));
                types.resize(types.len() + width - row.len(), 0);
            }
            tokens += row.len();
            ids.extend_from_slice(row);
            ids.resize(ids.len() + width - row.len(), pad_id);
            mask.resize(mask.len() + row.len(), true);
            mask.resize(mask.len() + width - row.len(), false);
        }
        let labels = rows.iter().map(|&row| split.label(row)).collect();
        Self { rows: rows.to_vec(), labels, ids, types, mask, width, tokens }
    }

    /// Number of rows in the batch.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the batch has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// B · T: the number of positions that the model computes, padding included.
    pub fn positions(&self) -> usize {
        self.len() * self.width
    }

    /// `ids` `[B, T]` and `mask` `[B, T]` on `device`.
    pub fn to_device(&self, device: &Device) -> (Ids, Tensor<2, Bool>) {
        let shape = [self.len(), self.width];
        (
            Ids::on(device, shape, self.ids.clone(), self.types.clone()),
            Tensor::from_data(TensorData::new(self.mask.clone(), shape), device),
        )
    }
}

/// The rows of every optimizer step of one epoch. They depend on seed and epoch only and are equal on every machine.
///
/// With [`Padding::Bucketed`]: shuffle, cut into mega-chunks of up to 50 steps, sort each by length, cut into steps,
/// shuffle the steps. Source: `get_length_grouped_indices` in transformers `trainer_pt_utils.py`, but with the steps
/// shuffled, so that a chunk does not run from long to short.
pub fn epoch(split: &Split, step_rows: usize, padding: Padding, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch + 1); // Stream 0 of the seed belongs to the weights' initialisation.
    let mut rows: Vec<usize> = (0..split.len()).collect();
    rows.shuffle(&mut rng);
    if let Padding::Fixed(_) = padding {
        return rows.chunks(step_rows).map(<[usize]>::to_vec).collect();
    }
    let steps_in_chunk = (rows.len() / (step_rows * 4)).clamp(1, 50);
    let mut steps = Vec::with_capacity(rows.len().div_ceil(step_rows));
    for chunk in rows.chunks_mut(steps_in_chunk * step_rows) {
        chunk.sort_by_key(|&row| split.row(row).len()); // A stable sort: rows of equal length keep their shuffled order.
        steps.extend(chunk.chunks(step_rows).map(<[usize]>::to_vec));
    }
    steps.shuffle(&mut rng);
    steps
}

/// All rows for evaluation, longest first: if memory does not suffice, the first batch already fails.
pub fn by_length(split: &Split, size: usize) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..split.len()).collect();
    rows.sort_by_key(|&row| std::cmp::Reverse(split.row(row).len()));
    rows.chunks(size.max(1)).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::data::TokenRow;

    /// Rows of 1 to 30 tokens; row `i` begins with the token `i`.
    fn split(rows: usize) -> Split {
        let mut split = Split::default();
        for row in 0..rows {
            let mut ids = vec![7; 1 + row * 17 % 30];
            ids[0] = row as u32;
            split.push(&ids, (row % 3) as u32, format!("r{row}"));
        }
        split
    }

    #[test]
    fn rows_are_padded_to_the_longest() {
        let split = split(5); // 1, 18, 5, 22 and 9 tokens
        let batch = Batch::collect(&split, &[2, 0], 99, Padding::Bucketed);
        assert_eq!(batch.ids, [2, 7, 7, 7, 7, 0, 99, 99, 99, 99]);
        assert_eq!(batch.mask, [true, true, true, true, true, true, false, false, false, false]);
        assert_eq!((batch.labels, batch.width, batch.tokens), (vec![2, 0], 5, 6));
        assert_eq!(Batch::collect(&split, &[2], 99, Padding::Fixed(8)).width, 8);
    }

    #[test]
    fn types_of_pairs_are_padded_with_0() {
        let mut split = split(1);
        split.push_row(TokenRow { ids: &[1, 2, 3], types: &[0, 1, 1], label: 0, row_id: "p".into() });
        split.push_row(TokenRow { ids: &[4, 5], types: &[0, 1], label: 0, row_id: "q".into() });
        let batch = Batch::collect(&split, &[1, 2, 0], 99, Padding::Bucketed);
        assert_eq!(batch.types, [0, 1, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(Batch::collect(&split, &[1], 99, Padding::Fixed(2)).types, [0, 1]);
        let (ids, _) = batch.to_device(&Device::flex());
        assert_eq!(ids.types.map(|types| types.dims()), Some([3, 3]));
    }

    #[test]
    fn an_epoch_has_every_row_once_in_an_order_of_its_own() {
        let split = split(203);
        let mut orders = Vec::new();
        for (seed, number) in [(1, 0), (1, 1), (2, 0)] {
            for padding in [Padding::Bucketed, Padding::Fixed(30)] {
                let steps = epoch(&split, 8, padding, seed, number);
                assert_eq!(steps.len(), 26);
                assert!(steps.iter().filter(|rows| rows.len() != 8).count() <= 1);
                assert_eq!(steps, epoch(&split, 8, padding, seed, number));
                let mut rows = steps.concat();
                assert!(!orders.contains(&rows));
                orders.push(rows.clone());
                rows.sort();
                assert!(rows.into_iter().eq(0..203));
            }
        }
    }

    #[test]
    fn buckets_save_most_of_the_padding() {
        let split = split(1000);
        let positions = |padding| -> usize {
            let steps = epoch(&split, 16, padding, 3, 0);
            let widths = steps.iter().map(|rows| Batch::collect(&split, rows, 0, Padding::Bucketed).width * rows.len());
            widths.sum()
        };
        let padding = |positions: usize| 1.0 - split.tokens() as f64 / positions as f64;
        assert!(padding(positions(Padding::Bucketed)) < 0.08);
        assert!(padding(positions(Padding::Fixed(30))) > 0.40); // Widest row of each batch, without buckets.
    }
}
