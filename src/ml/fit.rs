//! The one training loop: full fine-tuning, LoRA, distillation and recovery after pruning are objectives of it.

mod options;
mod report;
mod state;
mod step;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use burn::module::Module;
use burn::tensor::Device;

pub use self::options::{Criterion, FitOptions};
pub use self::report::{Best, Evaluation, Fitted, Point, Stop, Timings, Training, peak_memory_bytes};

use self::state::{Clock, State};
use self::step::{Lesson, Seen, Stepper};
use super::batch;
use super::checkpoint::Checkpoints;
use super::data::tokens::Tokens;
use super::metrics::{self, Metrics, Scoring};
use super::model::Model;
use super::objective::Objective;
use super::optimizer::AdamW;
use super::watch::{Interrupted, Progress, Watch};

/// Points of the learning curve at most: enough for a plot, small enough for a JSON file.
const CURVE_POINTS: u64 = 500;

/// Train `model` on the train rows and give back the best one on the validation rows.
///
/// The result is a function of the model, the rows, the objective, the options and the kind of device: nothing else in
/// the process matters. With `checkpoints`, state is kept in that folder at intervals, at each epoch's end and when the
/// watch says stop, and a fit of the same inputs goes on from there. The folder is left for the caller to remove once the
/// result is safe: until then, calling again gives the finished result at once.
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
    check(&model, tokens)?;
    objective.check(tokens.train.len(), tokens.labels.len())?;
    let train = &tokens.train;
    let steps_per_epoch = train.len().div_ceil(options.step_rows()) as u64;
    let total = steps_per_epoch * u64::from(options.epochs);
    let epochs = options.epochs;

    // Where we are: at the start, or where a checkpoint left off.
    let device = device.clone().autodiff();
    let mut model = model.train();
    let mut optimizer = AdamW::new(options.adamw, &model, &device);
    let mut state = State { identity: identity(&model, tokens, objective, options)?, ..State::default() };
    let mut best: Option<Model> = None;
    let checkpoints = checkpoints.map(Checkpoints::open).transpose()?;
    if let Some(checkpoints) = &checkpoints {
        let (found, notes) = checkpoints.read::<State>();
        notes.into_iter().for_each(|note| watch.note(note));
        match found {
            Some(found) if found.0.identity == state.identity => {
                let resumed = state::resume(found, model, &mut optimizer)?;
                (state, model, best) = (resumed.state, resumed.model, resumed.best);
                watch.note(format!("going on from step {} of {total}", state.step));
            }
            Some(_) => watch.note("the checkpoint there belongs to another fit and is not used".to_owned()),
            None => {}
        }
    }
    let save = |state: &State, model: &Model, optimizer: &AdamW, best: Option<&Model>| {
        checkpoints.as_ref().map_or(Ok(()), |checkpoints| state::save(checkpoints, state, model, optimizer, best))
    };
    let stepper = Stepper { tokens, objective, options, device: &device };
    let clock = Clock::start(state.seconds);
    let mut saved = Instant::now();
    let mut order = (u64::MAX, Vec::new()); // An epoch, and the rows of each of its steps.

    loop {
        let epoch = state.step / steps_per_epoch;

        // An epoch's end that has no evaluation yet: judge the model, keep it if it is the best.
        if state.step.is_multiple_of(steps_per_epoch) && state.evaluations.len() < epoch as usize {
            let validation = match validate(&model, tokens, options, &device, watch) {
                Err(error) if error.is::<Interrupted>() => {
                    state.seconds = clock.seconds();
                    save(&state, &model, &optimizer, best.as_ref())?;
                    return Err(error);
                }
                result => result?,
            };
            let better = record(&mut state, epoch as u32, validation, options);
            if better {
                best = Some(model.clone());
            }
            watch.note(line(&state, epochs, options, better));
            if state.step == total {
                state.stop = Some(Stop::Finished);
            } else if options.patience.is_some_and(|patience| state.stale >= patience) {
                state.stop = Some(Stop::Early);
            }
            state.seconds = clock.seconds();
            save(&state, &model, &optimizer, best.as_ref())?;
            saved = Instant::now();
        }
        if state.stop.is_some() {
            break;
        }
        if watch.stopped() {
            state.seconds = clock.seconds();
            save(&state, &model, &optimizer, best.as_ref())?;
            return Err(Interrupted.into());
        }

        // The rows of this step and its learning rate.
        if order.0 != epoch {
            order = (epoch, batch::epoch(train, options.step_rows(), options.padding, options.seed, epoch));
        }
        let rows = &order.1[(state.step % steps_per_epoch) as usize];
        let lr = options.learning_rate * options.schedule.factor(state.step, options.warmup, total);
        let start = Instant::now();

        let lesson = Lesson { step: state.step, rows, learning_rate: lr };
        let (updated, Seen { loss, norm, positions, tokens: seen }) = stepper.step(model, &mut optimizer, lesson)?;
        model = updated;
        state.positions += positions;
        state.tokens += seen;
        state.step += 1;
        if !loss.is_finite() || !norm.is_finite() {
            let ids: Vec<&str> = rows.iter().map(|&row| train.id(row)).collect();
            bail!(
                "the loss is {loss} and the gradient norm {norm} at step {} of {total} (learning rate {lr:e}, rows {}); \
                 try a lower learning-rate, a longer warm-up or a smaller gradient clip",
                state.step,
                ids.join(" ")
            );
        }

        // Tell, and keep what a crash must not take.
        state.rows += rows.len() as u64;
        state.train_seconds += start.elapsed().as_secs_f64();
        state.point.add(loss, norm);
        state.epoch.add(loss, norm);
        state.smooth = if state.step == 1 { loss } else { 0.95 * state.smooth + 0.05 * loss };
        let rate = state.rows as f64 / state.train_seconds;
        if state.step.is_multiple_of(total.div_ceil(CURVE_POINTS)) || state.step == total {
            let (loss, grad_norm) = state.point.take();
            let epoch = state.step as f64 / steps_per_epoch as f64;
            state.curve.push(Point { step: state.step, epoch, loss, learning_rate: lr, grad_norm });
            state.rates.push(rate);
        }
        watch.progress(Progress {
            done: state.step,
            total,
            unit: "step",
            epoch: Some((epoch as u32 + 1, epochs)),
            loss: Some(state.smooth),
            lr: Some(lr),
            rate: Some(rate),
            padding: Some(state.padding()),
        });
        if checkpoints.is_some() && saved.elapsed() >= options.checkpoint_every {
            state.seconds = clock.seconds();
            save(&state, &model, &optimizer, best.as_ref())?;
            saved = Instant::now();
        }
    }

    let trainable = model.parameters().into_iter().filter(|named| named.trainable);
    let training = Training {
        options: options.clone(),
        steps: state.step,
        steps_per_epoch,
        stop: state.stop.unwrap_or(Stop::Finished),
        best: state.best,
        padding: state.padding(),
        trainable_parameters: trainable.map(|named| named.shape.iter().product::<usize>() as u64).sum(),
        curve: state.curve,
        evaluations: state.evaluations,
    };
    let timings = Timings {
        seconds: clock.seconds(),
        samples_per_second: state.rows as f64 / state.train_seconds,
        curve: state.rates,
        peak_memory_bytes: peak_memory_bytes(),
    };
    Ok(Fitted { model: best.unwrap_or(model).valid(), training, timings })
}

/// Whether the model can read these tokens and knows these labels; inside the model this would be a panic.
fn check(model: &Model, tokens: &Tokens) -> Result<()> {
    let config = model.config();
    let (classes, labels) = (config.labels().len(), tokens.labels.len());
    ensure!(
        classes == labels,
        "the model has {classes} labels and the tokens have {labels}; load the model with the tokens' labels"
    );
    // A model treats the id as padding wherever it meets it: a real token of that id would lose its place and its training.
    let (theirs, ours) = (tokens.pad_id, config.pad_id());
    ensure!(
        theirs == ours,
        "the tokens are padded with id {theirs}, but the model takes {ours} for padding (`pad_token_id` of its config.json); \
         tokenize with the tokenizer of the model"
    );
    for (name, split) in [("train", &tokens.train), ("validation", &tokens.validation)] {
        for row in 0..split.len() {
            let (ids, at) = (split.row(row), split.id(row));
            let (length, longest, known) = (ids.len(), config.max_length(), config.vocab_size());
            ensure!(
                length <= longest,
                "{name} row `{at}` has {length} tokens, the model takes {longest}; set max-length to {longest}"
            );
            if let Some(id) = ids.iter().find(|&&id| id as usize >= known) {
                bail!(
                    "{name} row `{at}` holds token {id}, the model knows {known}; tokenize with the model's own tokenizer"
                );
            }
        }
    }
    Ok(())
}

/// A watch whose progress line stays the training's.
struct Quiet<'a>(&'a dyn Watch);

impl Watch for Quiet<'_> {
    fn progress(&self, _: Progress) {}
    fn note(&self, text: String) {
        self.0.note(text);
    }
    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}

/// Judge a model on the validation rows; none where there are none.
fn validate(
    model: &Model,
    tokens: &Tokens,
    options: &FitOptions,
    device: &Device,
    watch: &dyn Watch,
) -> Result<Option<Metrics>> {
    let split = &tokens.validation;
    if split.is_empty() {
        return Ok(None);
    }
    let model = model.valid();
    let device = device.clone().inner();
    let scoring = Scoring { split, pad_id: tokens.pad_id, batch_size: options.eval_batch_size, device: &device };
    let logits = scoring.logits(&metrics::forward(&model), &Quiet(watch))?;
    Metrics::of(&logits, split.labels(), &tokens.labels).map(Some)
}

/// Take an evaluation into the state; true where this is the best model so far.
fn record(state: &mut State, epoch: u32, validation: Option<Metrics>, options: &FitOptions) -> bool {
    let value = validation.as_ref().map(|metrics| options.metric.of(metrics));
    let (train_loss, _) = state.epoch.take();
    state.evaluations.push(Evaluation { epoch, step: state.step, train_loss, validation });
    let Some(value) = value else { return false };
    let gain = state.best.map_or(f64::INFINITY, |best| options.metric.gain(value, best.value));
    // As the Trainer's EarlyStoppingCallback: any gain makes a best model, only one above the threshold buys patience.
    state.stale = if gain > options.threshold { 0 } else { state.stale + 1 };
    if gain > 0.0 {
        state.best = Some(Best { epoch, step: state.step, value });
    }
    gain > 0.0
}

/// The last evaluation in one line.
fn line(state: &State, epochs: u32, options: &FitOptions, better: bool) -> String {
    let Some(last) = state.evaluations.last() else { return String::new() };
    let mut line = format!("epoch {}/{epochs}  loss {:.3}", last.epoch, last.train_loss);
    if let Some(metrics) = &last.validation {
        line += &format!("  validation macro F1 {:.3}  accuracy {:.3}", metrics.macro_f1, metrics.accuracy);
    }
    match (better, options.patience) {
        (true, _) => line += "  best so far",
        (false, Some(patience)) if state.stale > 0 => line += &format!("  patience {}/{patience}", state.stale),
        _ => {}
    }
    line
}

/// What a checkpoint must have in common with a fit to be of use to it.
fn identity(model: &Model, tokens: &Tokens, objective: &Objective, options: &FitOptions) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&serde_json::to_vec(options)?);
    for named in model.parameters() {
        hasher.update(format!("{} {:?} {}\n", named.name, named.shape, named.trainable).as_bytes());
    }
    for row in 0..tokens.train.len() {
        let ids = tokens.train.row(row);
        hasher.update(&tokens.train.label(row).to_le_bytes());
        hasher.update(&(ids.len() as u64).to_le_bytes());
        for id in ids {
            hasher.update(&id.to_le_bytes());
        }
    }
    match objective {
        Objective::CrossEntropy { .. } => hasher.update(format!("{objective:?}").as_bytes()),
        Objective::Distill { teacher, alpha, temperature } => {
            for logit in teacher {
                hasher.update(&logit.to_le_bytes());
            }
            hasher.update(format!("{alpha} {temperature}").as_bytes())
        }
    };
    Ok(hasher.finalize().to_hex().to_string())
}
