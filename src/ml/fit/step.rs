//! One optimizer step: forward, backward, clip, update.

use anyhow::Result;
use burn::tensor::{Device, Tensor};

use super::FitOptions;
use crate::ml::batch::Batch;
use crate::ml::data::tokens::Tokens;
use crate::ml::dropout::Noise;
use crate::ml::model::Model;
use crate::ml::objective::Objective;
use crate::ml::optimizer::{Accumulated, AdamW};

/// What all steps of a fit have in common.
pub struct Stepper<'a> {
    pub tokens: &'a Tokens,
    pub objective: &'a Objective,
    pub options: &'a FitOptions,
    /// With autodiff.
    pub device: &'a Device,
}

/// What one step learns from.
#[derive(Debug, Clone, Copy)]
pub struct Lesson<'a> {
    /// Steps taken before.
    pub step: u64,
    /// Train rows, at most [`FitOptions::step_rows`].
    pub rows: &'a [usize],
    pub learning_rate: f64,
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

impl Stepper<'_> {
    /// Take one step. A loss or norm that is not finite is the caller's to judge; the model is spoilt then.
    pub fn step(&self, model: Model, optimizer: &mut AdamW, lesson: Lesson) -> Result<(Model, Seen)> {
        let Self { tokens, objective, options, device } = *self;
        let train = &tokens.train;

        // Each micro-batch is divided by the weight of all the step's rows, so their sum is the mean over one big batch.
        let weight = objective.weight(lesson.rows.iter().map(|&row| train.label(row)));
        let mut noise = Noise::step(options.seed, lesson.step);
        let mut grads = Accumulated::default();
        let mut losses = Vec::with_capacity(options.accumulation);
        let mut seen = Seen { loss: 0.0, norm: 0.0, positions: 0, tokens: 0 };
        for rows in lesson.rows.chunks(options.batch_size) {
            let batch = Batch::collect(train, rows, tokens.pad_id, options.padding);
            let (ids, mask) = batch.to_device(device);
            let logits = model.forward(ids, mask, &mut noise); // [B, C]
            let loss = objective.loss(logits, &batch, weight); // [1]
            grads.add(&model, loss.backward(), optimizer)?;
            losses.push(loss.inner());
            seen.positions += (batch.len() * batch.width) as u64;
            seen.tokens += batch.tokens as u64;
        }

        // The loss is read after the update is queued: a GPU then never waits for the host.
        let (model, norm) = optimizer.step(model, grads, lesson.learning_rate, options.clip)?;
        seen.loss = f64::from(Tensor::cat(losses, 0).sum().try_into_scalar::<f32>()?);
        seen.norm = norm.read()?;
        Ok((model, seen))
    }
}
