//! Collects the rows of every step on a separate thread, ahead of the training.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context as _, Result};

use super::FitOptions;
use crate::text::batch;
use crate::text::batch::Batch;
use crate::text::data::tokens::{Split, Tokens};

/// Maximum number of steps that wait ready: one to take at once, one to cover a slow shuffle at the start of an epoch.
const AHEAD: usize = 2;

/// The batches of one optimizer step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepBatches {
    /// Steps taken before this one.
    pub step: u64,
    /// Micro-batches of at most `batch_size` rows; together at most `step_rows`.
    pub batches: Vec<Batch>,
}

impl StepBatches {
    /// Positions of the step's rows in the train split.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
        self.batches.iter().flat_map(|batch| batch.rows.iter().copied())
    }
}

/// Delivers the batches of a fit step by step, so that the device never waits for tokens.
///
/// The batches of a step depend only on tokens, options and step. The thread ends after the last step, or when the feed
/// is dropped.
pub(super) struct Feed {
    prepared: Receiver<StepBatches>,
}

impl Feed {
    /// Start collecting the batches of a fit on `tokens`, from step `from` on.
    pub(super) fn start(tokens: &Tokens, options: &FitOptions, from: u64) -> Result<Self> {
        let (sender, prepared) = sync_channel(AHEAD);
        let source = BatchSource { train: tokens.train.clone(), pad_id: tokens.pad_id, options: options.clone() };
        let thread = std::thread::Builder::new().name("feed".into());
        thread.spawn(move || source.collect(from, &sender)).context("cannot start the thread that collects rows")?;
        Ok(Self { prepared })
    }

    /// The batches of the next step, or `None` after the last. This only waits if collecting takes longer than
    /// training.
    pub(super) fn next(&self) -> Option<StepBatches> {
        self.prepared.recv().ok()
    }
}

/// The inputs from which the batches are made.
struct BatchSource {
    train: Split,
    pad_id: u32,
    options: FitOptions,
}

impl BatchSource {
    /// Send the batches of every step from `from` on, until the last or until the receiver is gone.
    fn collect(&self, from: u64, sender: &SyncSender<StepBatches>) {
        let Self { train, pad_id, options: FitOptions { training, seed, .. } } = self;
        let steps = training.steps_per_epoch(train.len());
        for epoch in from / steps.max(1)..u64::from(training.epochs) {
            let order = batch::epoch(train, training.step_rows(), training.padding, *seed, epoch);
            let first = epoch * steps;
            for (step, rows) in (first..).zip(&order).skip(from.saturating_sub(first) as usize) {
                let micro = rows.chunks(training.batch_size);
                let batches = micro.map(|rows| Batch::collect(train, rows, *pad_id, training.padding)).collect();
                if sender.send(StepBatches { step, batches }).is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fit::Hyperparameters;

    fn tokens(rows: usize) -> Tokens {
        let mut train = Split::default();
        for row in 0..rows {
            train.push(&vec![row as u32; 1 + row % 7], 0, format!("row-{row}"));
        }
        let labels = vec!["a".to_owned()];
        Tokens { labels, pad_id: 1, max_length: 16, train, validation: Split::default(), test: Split::default() }
    }

    fn prepared(tokens: &Tokens, options: &FitOptions, from: u64) -> Vec<StepBatches> {
        let feed = Feed::start(tokens, options, from).unwrap();
        std::iter::from_fn(|| feed.next()).collect()
    }

    #[test]
    fn every_epoch_has_every_row_once_in_micro_batches() {
        let (tokens, options) =
            (tokens(23), Hyperparameters { epochs: 2, batch_size: 3, accumulation: 2, ..Hyperparameters::default() });
        let prepared = prepared(&tokens, &options.into(), 0);
        assert_eq!(
            prepared.iter().map(|step_batches| step_batches.step).collect::<Vec<_>>(),
            (0..8).collect::<Vec<_>>()
        );
        for epoch in prepared.chunks(4) {
            let mut rows: Vec<usize> = epoch.iter().flat_map(StepBatches::rows).collect();
            rows.sort();
            assert_eq!(rows, (0..23).collect::<Vec<_>>());
        }
        let full = prepared.iter().find(|step_batches| step_batches.rows().count() == 6).unwrap();
        assert_eq!(full.batches.iter().map(Batch::len).collect::<Vec<_>>(), [3, 3]);
    }

    #[test]
    fn going_on_from_a_step_gives_what_would_have_come() {
        let options = Hyperparameters { epochs: 3, batch_size: 5, ..Hyperparameters::default() };
        let (tokens, options) = (tokens(23), FitOptions::from(options));
        let all = prepared(&tokens, &options, 0);
        for from in [1, 4, 5, 9, 14, 15] {
            assert_eq!(prepared(&tokens, &options, from as u64), all[from..], "from step {from}");
        }
    }

    #[test]
    fn it_ends_when_the_receiver_is_gone() {
        let options = Hyperparameters { epochs: u32::MAX, batch_size: 1, ..Hyperparameters::default() };
        let source = BatchSource { train: tokens(64).train, pad_id: 1, options: options.into() };
        let (sender, prepared) = sync_channel(AHEAD);
        let thread = std::thread::spawn(move || source.collect(0, &sender));
        assert_eq!(prepared.recv().unwrap().step, 0);
        drop(prepared);
        thread.join().unwrap(); // Millions of epochs would have been left.
    }
}
