//! One optimizer step: forward, backward, clip, update.

use anyhow::{Context as _, Result, anyhow};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::FitOptions;
use super::backward;
use super::backward::Inputs;
use super::feed::StepBatches;
use super::memory::{MemoryBudget, within};
use super::trainee::Trainee;
use crate::compute::dropout::Pass;
use crate::text::batch::Batch;
use crate::text::data::tokens::Tokens;
use crate::train::guide::Counts;
use crate::train::objective::Objective;
use crate::train::optimizer::{Accumulated, AdamW};
use crate::watch::Watch;

/// What all steps of a fit share.
pub(super) struct Stepper<'a> {
    pub tokens: &'a Tokens,
    pub objective: &'a Objective,
    pub options: &'a FitOptions,
    /// The model's device, with autodiff.
    pub device: &'a Device,
    pub watch: &'a dyn Watch,
    pub budget: MemoryBudget,
}

/// The measurements of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Seen {
    /// Mean over the step's rows, before the update.
    pub loss: f64,
    /// Norm of the gradient, before clipping.
    pub norm: f64,
    /// Positions that the model computed, and how many of them held a token.
    pub positions: u64,
    pub tokens: u64,
}

/// The gradients of a step's rows, and what was computed along with them.
struct Gathered {
    grads: Accumulated,
    /// `[1]` each.
    losses: Vec<Tensor<1>>,
}

impl Stepper<'_> {
    /// Take one step. The caller has to check whether loss and norm are finite. If they are not, the model is unchanged
    /// on the CPU and broken on a GPU.
    pub(super) fn step(
        &self,
        trainee: Trainee,
        optimizer: &mut AdamW,
        step_batches: &StepBatches,
        learning_rate: f64,
    ) -> Result<(Trainee, Seen)> {
        let (batches, gathered) = self.budget.find(self.watch, |parts| {
            let batches = self.cut(step_batches, parts * (1 + self.options.replicas.len()));
            // The first steps also allocate the optimizer's state.
            let settled = optimizer.steps() > 1;
            let gathered = within(self.options.memory_limit, self.device, || {
                let gathered = self.gradients(&trainee, optimizer, &batches, step_batches.step)?;
                self.wait(&batches, &gathered.grads, settled)?;
                Ok(gathered)
            });
            let widest = batches.iter().max_by_key(|batch| batch.positions());
            let [rows, width] = widest.map_or([0, 0], |batch| [batch.len(), batch.width]);
            let at = || format!("step {}, {rows} rows of {width} tokens at a time", step_batches.step + 1);
            Ok((batches, gathered.with_context(at)?))
        })?;

        // Read the loss after queuing the update, so that a GPU never waits for the host.
        let (trainee, norm) = optimizer.step(trainee, gathered.grads, learning_rate, self.options.training.clip())?;
        let loss = f64::from(Tensor::cat(gathered.losses, 0).sum().try_into_scalar::<f32>()?);
        let positions = batches.iter().map(|batch| batch.positions() as u64).sum();
        let tokens = batches.iter().map(|batch| batch.tokens as u64).sum();
        Ok((trainee, Seen { loss, norm: norm.read()?, positions, tokens }))
    }

    /// The step's batches, each cut into `parts` with about equally many rows.
    fn cut(&self, step_batches: &StepBatches, parts: usize) -> Vec<Batch> {
        let Self { tokens, options, .. } = self;
        let cut = |batch: &Batch| -> Vec<Batch> {
            let rows = batch.rows.chunks(batch.len().div_ceil(parts));
            rows.map(|rows| Batch::collect(&tokens.train, rows, tokens.pad_id, options.training.padding)).collect()
        };
        if parts == 1 { step_batches.batches.clone() } else { step_batches.batches.iter().flat_map(cut).collect() }
    }

    /// The gradient of the mean loss over all batches, computed by all devices.
    ///
    /// Each batch is divided by the weight of all rows of the step, so it does not matter which device computes which
    /// batch.
    fn gradients(&self, trainee: &Trainee, optimizer: &AdamW, batches: &[Batch], step: u64) -> Result<Gathered> {
        let Self { objective, options, device, .. } = *self;
        let weight = objective.weight(batches.iter().flat_map(|batch| batch.labels.iter().copied()));
        let ranks = 1 + options.replicas.len();
        let work =
            StepWork { objective, options, optimizer, batches, step, weight, counts: Counts::of(batches), ranks };
        if ranks == 1 {
            return work.run(0, trainee, device);
        }
        std::thread::scope(|scope| {
            let others = (1..).zip(&options.replicas).map(|(rank, device)| {
                let (work, device) = (&work, device.clone().autodiff());
                let replica = trainee.clone().fork(&device);
                scope.spawn(move || work.run(rank, &replica, &device))
            });
            let others: Vec<_> = others.collect();
            let sum = work.run(0, trainee, device);
            // Wait for all threads before reporting an error, so that a panic of one does not hide it.
            let joined =
                others.into_iter().map(|other| other.join().map_err(|_| anyhow!("the thread of a device panicked")));
            let joined: Vec<_> = joined.collect();
            let mut sum = sum?;
            for other in joined {
                let other = other??;
                sum.grads.merge(other.grads)?;
                sum.losses.extend(other.losses.into_iter().map(|loss| loss.to_device(&device.clone().inner())));
            }
            Ok(sum)
        })
    }

    /// Make sure that the gradients are computed before they change the model.
    ///
    /// A GPU runs behind the host, so its errors show only when a result is read. Waiting costs time. Only batches
    /// larger than all before can run out of memory, so this waits only for those.
    fn wait(&self, batches: &[Batch], grads: &Accumulated, settled: bool) -> Result<()> {
        let positions = batches.iter().map(Batch::positions).max().unwrap_or(0);
        if !settled || self.budget.is_unproven(positions) {
            grads.wait()?;
            if settled {
                self.budget.proved(positions);
            }
        }
        Ok(())
    }
}

/// Forward and backward passes over a step's batches; each device computes its share.
struct StepWork<'a> {
    objective: &'a Objective,
    options: &'a FitOptions,
    optimizer: &'a AdamW,
    batches: &'a [Batch],
    step: u64,
    /// Weight of all rows of the step.
    weight: f64,
    counts: Counts,
    ranks: usize,
}

impl StepWork<'_> {
    /// Compute every `ranks`-th batch from `rank` on, one after the other.
    fn run(&self, rank: usize, trainee: &Trainee, device: &Device) -> Result<Gathered> {
        let Trainee { model, projection } = trainee;
        let guide = self.objective.guide().map(|guide| if rank == 0 { guide.clone() } else { guide.on(device) });
        let mut pass =
            Pass::rank(self.options.seed, self.step, rank as u64).in_precision(self.options.training.precision);
        let mut gathered = Gathered { grads: Accumulated::default(), losses: Vec::new() };
        for batch in self.batches.iter().skip(rank).step_by(self.ranks) {
            let (ids, mask) = batch.to_device(device);
            let take = |grads| gathered.grads.add(trainee, grads, self.optimizer);
            let targets = guide.as_ref().map(|guide| guide.targets(&ids, &mask, self.counts, projection.as_ref()));
            let loss = |logits| self.objective.loss(logits, batch, self.weight);
            let inputs = Inputs { ids, mask, loss: &loss, targets: targets.as_ref() };
            gathered.losses.push(if self.options.training.gradient_checkpointing {
                backward::layer_by_layer(model, inputs, &mut pass, take)?
            } else {
                backward::whole(model, inputs, &mut pass, take)?
            });
        }
        Ok(gathered)
    }
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
