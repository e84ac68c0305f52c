//! One optimizer step: forward, backward, clip, update.

use anyhow::{Context as _, Result};
use burn::tensor::{Device, Tensor};

use super::FitOptions;
use super::feed::Lesson;
use super::memory::Room;
use crate::ml::batch::Batch;
use crate::ml::data::tokens::Tokens;
use crate::ml::dropout::Noise;
use crate::ml::model::Model;
use crate::ml::objective::Objective;
use crate::ml::optimizer::{Accumulated, AdamW};
use crate::ml::watch::Watch;

/// What all steps of a fit have in common.
pub struct Stepper<'a> {
    pub tokens: &'a Tokens,
    pub objective: &'a Objective,
    pub options: &'a FitOptions,
    /// With autodiff.
    pub device: &'a Device,
    pub watch: &'a dyn Watch,
    pub room: Room,
}

/// What a step saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Mean over the step's rows, before the update.
    pub loss: f64,
    /// Of the gradient, before clipping.
    pub norm: f64,
    /// Positions that went through the model, and those that held a token.
    pub positions: u64,
    pub tokens: u64,
}

/// The gradients of a step's rows, and what they came with.
struct Gathered {
    grads: Accumulated,
    /// `[1]` each.
    losses: Vec<Tensor<1>>,
}

impl Stepper<'_> {
    /// Take one step. A loss or norm that is not finite is the caller's to judge; the model is spoilt then.
    pub fn step(
        &self,
        model: Model,
        optimizer: &mut AdamW,
        lesson: &Lesson,
        learning_rate: f64,
    ) -> Result<(Model, Seen)> {
        let (batches, gathered) = self.room.find(self.watch, |parts| {
            let batches = self.cut(lesson, parts);
            let gathered = self.gradients(&model, optimizer, &batches, lesson.step)?;
            Ok((batches, gathered))
        })?;

        // The loss is read after the update is queued: a GPU then never waits for the host.
        let (model, norm) = optimizer.step(model, gathered.grads, learning_rate, self.options.clip)?;
        let loss = f64::from(Tensor::cat(gathered.losses, 0).sum().try_into_scalar::<f32>()?);
        let positions = batches.iter().map(|batch| batch.positions() as u64).sum();
        let tokens = batches.iter().map(|batch| batch.tokens as u64).sum();
        Ok((model, Seen { loss, norm: norm.read()?, positions, tokens }))
    }

    /// The lesson's batches, each in `parts` of about equally many rows.
    fn cut(&self, lesson: &Lesson, parts: usize) -> Vec<Batch> {
        let Self { tokens, options, .. } = self;
        let cut = |batch: &Batch| -> Vec<Batch> {
            let rows = batch.rows.chunks(batch.len().div_ceil(parts));
            rows.map(|rows| Batch::collect(&tokens.train, rows, tokens.pad_id, options.padding)).collect()
        };
        if parts == 1 { lesson.batches.clone() } else { lesson.batches.iter().flat_map(cut).collect() }
    }

    /// Forward and backward of every batch. Each is divided by the weight of all the step's rows, so their sum is the mean
    /// over one big batch.
    fn gradients(&self, model: &Model, optimizer: &AdamW, batches: &[Batch], step: u64) -> Result<Gathered> {
        let weight = self.objective.weight(batches.iter().flat_map(|batch| batch.labels.iter().copied()));
        let mut noise = Noise::step(self.options.seed, step);
        let mut gathered = Gathered { grads: Accumulated::default(), losses: Vec::with_capacity(batches.len()) };
        for batch in batches {
            let (ids, mask) = batch.to_device(self.device);
            let logits = model.forward(ids, mask, &mut noise); // [B, C]
            let loss = self.objective.loss(logits, batch, weight); // [1]
            gathered.grads.add(model, loss.backward(), optimizer)?;
            gathered.losses.push(loss.inner());
        }
        self.wait(batches, &gathered.grads).with_context(|| {
            let widest = batches.iter().max_by_key(|batch| batch.positions());
            let [rows, width] = widest.map_or([0, 0], |batch| [batch.len(), batch.width]);
            format!("step {} with up to {rows} rows of {width} tokens at a time", step + 1)
        })?;
        Ok(gathered)
    }

    /// Make sure that the gradients are there before they change the model.
    ///
    /// A GPU works behind the host, so its errors show only where a result is read. Waiting for it costs time: only batches
    /// larger than all before them may run out of memory, so only they are waited for.
    fn wait(&self, batches: &[Batch], grads: &Accumulated) -> Result<()> {
        let positions = batches.iter().map(Batch::positions).max().unwrap_or(0);
        if self.room.is_unproven(positions) {
            grads.wait()?;
            self.room.proved(positions);
        }
        Ok(())
    }
}
