//! The training loop, used for full fine-tuning, LoRA, distillation and recovery after pruning.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use burn::module::Module;
use burn::tensor::Device;

use super::options::FitOptions;
use super::report::{Fitted, Point, Speed, Stop, Timings, Training, peak_memory_bytes};
use super::{evaluate, state};

use super::check::check;
use super::feed::Feed;
use super::memory::MemoryBudget;
use super::state::{Clock, FitState, Sums};
use super::step::{Seen, Stepper};
use super::trainee::Trainee;
use crate::model::Model;
use crate::text::data::tokens::Tokens;
use crate::train::checkpoint::Checkpoints;
use crate::train::objective::Objective;
use crate::train::optimizer::AdamW;
use crate::watch::{Interrupted, Progress, Watch};

/// Maximum number of points of the learning curve between evaluations: enough for a plot, small enough for a JSON file.
const CURVE_POINTS: u64 = 500;

/// Maximum number of row ids that a message lists: all rows of a usual batch.
const LISTED_ROWS: usize = 32;

/// Train `model` on the train rows and return the best model by the validation rows.
///
/// The result depends only on the model, the rows, the objective, the options and the kind of device, unless memory
/// runs short and batches are halved. With `checkpoints`, the fit saves its state in that folder at intervals, at each
/// evaluation and when the watch asks it to stop, and a fit of the same inputs resumes from there. The caller removes
/// the folder after it has stored the result: until then, calling again returns the finished result at once.
pub fn fit(
    model: Model,
    tokens: &Tokens,
    objective: &Objective,
    options: &FitOptions,
    checkpoints: Option<&Path>,
    device: &Device,
    watch: &dyn Watch,
) -> Result<Fitted> {
    options.check(tokens)?;
    check(&model, tokens, options.training.padding)?;
    objective.check(tokens.train.len(), tokens.labels.len())?;
    // A checkpoint holds only the trained weights.
    let is_frozen = model.count_trainable() < model.count();
    ensure!(options.pruning.is_none() || !is_frozen, "a model with frozen weights cannot be pruned during training");
    let device = device.clone().autodiff();
    if options.memory_limit.is_some() {
        device.memory_cleanup(); // Release what earlier work left in the pool.
    }
    let stepper = Stepper { tokens, objective, options, device: &device, watch, budget: MemoryBudget::default() };
    let mut run = Run::start(model, &stepper, checkpoints, watch)?;
    loop {
        if run.is_evaluation_due() {
            run.evaluate()?;
        }
        if run.state.stop.is_some() {
            return Ok(run.finish());
        }
        if run.state.step == run.end {
            // A fit with a later `until` goes on from here, so the stop is not saved.
            if run.saved != Some(run.state.step) {
                run.save()?;
            }
            run.state.stop = Some(Stop::Until);
            return Ok(run.finish());
        }
        if watch.stopped() {
            run.save()?;
            return Err(Interrupted.into());
        }
        run = run.prune()?.step()?;
        run.tell();
        if run.saved_at.elapsed() >= options.training.checkpoint_every() {
            run.save()?;
        }
    }
}

/// The state of a fit between two steps.
struct Run<'a> {
    stepper: &'a Stepper<'a>,
    watch: &'a dyn Watch,
    checkpoints: Option<Checkpoints>,
    trainee: Trainee,
    optimizer: AdamW,
    best: Option<Model>,
    state: FitState,
    steps_per_epoch: u64,
    /// Number of steps in all epochs.
    total: u64,
    /// Number of steps of this fit: those up to `until`.
    end: u64,
    feed: Feed,
    clock: Clock,
    saved_at: Instant,
    /// The step of the newest checkpoint.
    saved: Option<u64>,
}

impl<'a> Run<'a> {
    /// Start from the beginning, or from a checkpoint.
    fn start(model: Model, stepper: &'a Stepper<'a>, checkpoints: Option<&Path>, watch: &'a dyn Watch) -> Result<Self> {
        let Stepper { tokens, objective, options, device, .. } = *stepper;
        let projection = match objective.guide() {
            Some(guide) => guide.projection(model.config(), options.seed, device)?,
            None => None,
        };
        let trainee = Trainee { model, projection }.train();
        let steps_per_epoch = options.training.steps_per_epoch(tokens.train.len());
        let identity = state::identity(&trainee, tokens, objective, options)?;
        let mut run = Self {
            stepper,
            watch,
            checkpoints: checkpoints.map(Checkpoints::open).transpose()?,
            optimizer: AdamW::new(options.training.adamw(), &trainee, device),
            trainee,
            best: None,
            state: FitState { identity, ..FitState::default() },
            steps_per_epoch,
            total: steps_per_epoch * u64::from(options.training.epochs),
            end: steps_per_epoch * u64::from(options.training.until.unwrap_or(options.training.epochs)),
            feed: Feed::start(tokens, options, 0)?,
            clock: Clock::start(0.0),
            saved_at: Instant::now(),
            saved: None,
        };
        if let Some(warning) = options.training.endless_warmup(run.total) {
            watch.warn(warning);
        }
        let Some(checkpoints) = &run.checkpoints else { return Ok(run) };
        let (found, warnings) = checkpoints.read::<FitState>();
        warnings.into_iter().for_each(|warning| watch.warn(warning));
        match found {
            Some(found) if found.0.identity == run.state.identity && found.0.step <= run.end => {
                let resumed = state::resume(found, run.trainee, &mut run.optimizer)?;
                (run.state, run.trainee, run.best) = (resumed.state, resumed.trainee, resumed.best);
                stepper.budget.resume(run.state.parts);
                run.feed = Feed::start(tokens, options, run.state.step)?;
                (run.clock, run.saved) = (Clock::start(run.state.seconds), Some(run.state.step));
                watch.note(format!("resuming from step {} of {}", run.state.step, run.total));
            }
            Some(_) => watch.warn("ignoring the checkpoint: it belongs to another fit".to_owned()),
            None => {}
        }
        Ok(run)
    }

    /// Number of epochs done, with the finished share of the current one.
    fn epoch(&self) -> f64 {
        self.state.step as f64 / self.steps_per_epoch as f64
    }

    fn is_evaluation_step(&self) -> bool {
        let step = self.state.step;
        let every = self.stepper.options.training.eval_steps.unwrap_or(self.steps_per_epoch);
        step > 0 && (step.is_multiple_of(every) || step == self.total)
    }

    /// Whether to evaluate after this step. A checkpoint may show that this was already done.
    fn is_evaluation_due(&self) -> bool {
        self.is_evaluation_step() && self.state.evaluations.last().is_none_or(|last| last.step < self.state.step)
    }

    /// Evaluate the model, keep it if it is the best, and decide whether to stop.
    fn evaluate(&mut self) -> Result<()> {
        let validation = match evaluate::validate(&self.trainee.model, self.stepper, self.watch) {
            // Whatever failed, the steps up to here are done: save them, so that a rerun need not repeat them.
            Err(error) => {
                self.save()?;
                return Err(error);
            }
            Ok(validation) => validation,
        };
        if let Some(loss) = validation.as_ref().map(|metrics| metrics.loss).filter(|loss| !loss.is_finite()) {
            bail!(
                "the validation loss is {loss} after step {} of {}; {}; try a lower learning-rate, a longer warm-up or a \
                 smaller clip",
                self.state.step,
                self.total,
                self.kept()
            );
        }
        // Without validation rows nothing else would notice that the last step broke the weights.
        if validation.is_none() && !state::is_finite(&self.trainee)? {
            bail!(
                "the weights became NaN or infinite after step {} of {}; {}; try a lower learning-rate, a longer warm-up or a \
                 smaller clip",
                self.state.step,
                self.total,
                self.kept()
            );
        }
        let (options, epoch) = (self.stepper.options, self.epoch());
        evaluate::record(&mut self.state, epoch, validation);
        // A model that will still lose weights is not a candidate for the best model, nor a reference for later ones.
        let is_candidate = options.pruning.as_ref().is_none_or(|pruning| pruning.is_over(self.state.step, self.total));
        let better = is_candidate && evaluate::judge(&mut self.state, &options.training);
        if better {
            self.best = Some(self.trainee.model.clone());
        }
        self.watch.measured(evaluate::measured(&self.state, options, self.total, better));
        if self.state.step == self.total {
            self.state.stop = Some(Stop::Finished);
        } else if options.training.patience.is_some_and(|patience| self.state.stale >= patience) {
            self.state.stop = Some(Stop::Early);
        }
        self.save()
    }

    /// Remove the weights that are due before the next step, and hold them at zero.
    fn prune(mut self) -> Result<Self> {
        let Some(pruning) = &self.stepper.options.pruning else { return Ok(self) };
        let Some(share) = pruning.due(self.state.step, self.total) else { return Ok(self) };
        let Trainee { model, projection } = self.trainee;
        let (model, masks) = pruning.apply(model, share)?;
        if masks.is_empty() {
            return Ok(Self { trainee: Trainee { model, projection }, ..self });
        }
        let (removed, weights) = masks.values().fold((0, 0), |(r, w), mask| (r + mask.removed(), w + mask.weights()));
        self.watch.note(format!(
            "from step {} on, {removed} of {weights} weights in {} matrices are held at zero ({:.1} %)",
            self.state.step + 1,
            masks.len(),
            100.0 * removed as f64 / weights as f64
        ));
        self.optimizer.hold(masks)?;
        Ok(Self { trainee: Trainee { model, projection }, ..self })
    }

    /// One optimizer step on the next rows.
    fn step(mut self) -> Result<Self> {
        let Stepper { tokens, options, .. } = *self.stepper;
        let step_batches = self.feed.next().context("internal error: the thread that collects rows has ended")?;
        let training = &options.training;
        let factor = training.schedule().factor(self.state.step, training.warmup(), self.total);
        let learning_rate = training.rate() * factor;
        let start = Instant::now();
        let (trainee, seen) = self.stepper.step(self.trainee, &mut self.optimizer, &step_batches, learning_rate)?;
        self.trainee = trainee;
        if !seen.loss.is_finite() || !seen.norm.is_finite() {
            let ids = step_batches.rows().map(|row| tokens.train.id(row).to_owned()).collect();
            return self.refuse(seen, learning_rate, ids);
        }
        let state = &mut self.state;
        let seconds = start.elapsed().as_secs_f64();
        let sums =
            Sums { steps: 1, loss: seen.loss, norm: seen.norm, rows: step_batches.rows().count() as u64, seconds };
        [&mut state.whole, &mut state.since_point, &mut state.since_evaluation].into_iter().for_each(|s| s.add(sums));
        state.positions += seen.positions;
        state.tokens += seen.tokens;
        state.smooth = if state.step == 0 { seen.loss } else { 0.95 * state.smooth + 0.05 * seen.loss };
        state.step += 1;
        state.learning_rate = learning_rate;
        Ok(self)
    }

    /// Fail because the loss is not finite. If the optimizer noticed in time, the model is unchanged and is saved;
    /// otherwise the last checkpoint is from before this step.
    fn refuse(mut self, Seen { loss, norm, .. }: Seen, learning_rate: f64, ids: Vec<String>) -> Result<Self> {
        if self.optimizer.steps() == self.state.step {
            self.save()?;
        }
        let more = ids.len().saturating_sub(LISTED_ROWS);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let rows = ids[..ids.len() - more].join(" ");
        bail!(
            "the loss is {loss} and the gradient norm {norm} at step {} of {} (epoch {:.2}, learning rate {learning_rate:.3e}, \
             rows {rows}{rest}); {}; try a lower learning-rate, a longer warm-up or a smaller clip",
            self.state.step + 1,
            self.total,
            self.epoch(),
            self.kept()
        )
    }

    /// Describes what is left of a fit that fails.
    fn kept(&self) -> String {
        let best = if self.best.is_some() { " (with the best model so far)" } else { "" };
        match self.saved {
            Some(step) => {
                format!(
                    "the checkpoint of step {step} is kept{best}, and a rerun with the same settings resumes from it"
                )
            }
            None => "no checkpoint was saved yet".to_owned(),
        }
    }

    /// Report the progress, and add a point to the curve if one is due.
    fn tell(&mut self) {
        let (epoch, is_evaluation_step) = (self.epoch(), self.is_evaluation_step());
        let state = &mut self.state;
        if state.step.is_multiple_of(self.total.div_ceil(CURVE_POINTS)) || is_evaluation_step {
            let since = state.since_point.take();
            let (step, learning_rate) = (state.step, state.learning_rate);
            state.curve.push(Point {
                step,
                epoch,
                loss: since.mean_loss(),
                learning_rate,
                grad_norm: since.mean_norm(),
            });
            state.speeds.push(Speed { step, samples_per_second: since.rate(), peak_memory_bytes: peak_memory_bytes() });
        }
        self.watch.progress(Progress {
            done: state.step,
            total: self.total,
            unit: "step",
            epoch: Some((epoch.ceil() as u32, self.stepper.options.training.epochs)),
            loss: Some(state.smooth),
            lr: Some(state.learning_rate),
            rate: Some(state.whole.rate()),
            padding: Some(state.padding()),
        });
    }

    /// Save a checkpoint, unless the model has weights that are not finite: then the next step reports the error.
    fn save(&mut self) -> Result<()> {
        self.state.seconds = self.clock.seconds();
        self.state.parts = self.stepper.budget.parts();
        if let Some(checkpoints) = &self.checkpoints
            && state::save(checkpoints, &self.state, &self.trainee, &self.optimizer, self.best.as_ref())?
        {
            self.saved = Some(self.state.step);
        }
        self.saved_at = Instant::now();
        Ok(())
    }

    fn finish(self) -> Fitted {
        let state = self.state;
        let training = Training {
            options: self.stepper.options.clone(),
            steps: state.step,
            steps_per_epoch: self.steps_per_epoch,
            stop: state.stop.unwrap_or(Stop::Finished),
            best: state.best,
            padding: state.padding(),
            trainable_parameters: self.trainee.model.count_trainable() as u64,
            curve: state.curve,
            evaluations: state.evaluations,
        };
        let timings = Timings {
            seconds: self.clock.seconds(),
            samples_per_second: state.whole.rate(),
            curve: state.speeds,
            peak_memory_bytes: peak_memory_bytes(),
        };
        Fitted { model: self.best.unwrap_or(self.trainee.model).valid(), training, timings }
    }
}

#[cfg(test)]
#[path = "tests/mod.rs"]
pub(super) mod tests;
