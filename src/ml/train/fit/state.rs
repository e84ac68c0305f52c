//! The state of a fit between two steps, and how it is saved and restored.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use burn::module::{ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::FitOptions;
use super::report::{Best, Evaluation, Point, Speed, Stop};
use super::trainee::Trainee;
use crate::compress::prune::Mask;
use crate::model::walk::Parameters;
use crate::model::{Model, walk};
use crate::text::data::tokens::Tokens;
use crate::train::checkpoint::{Checkpoints, Tensors};
use crate::train::guide::Guide;
use crate::train::objective::Objective;
use crate::train::optimizer::AdamW;

/// The numbers of a fit between two steps. Batch order and dropout are functions of seed, epoch and step, so there is
/// no random generator to save.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct FitState {
    /// Identifies the inputs and options of the fit: a checkpoint of another fit is ignored.
    pub identity: String,
    /// Optimizer steps done.
    pub step: u64,
    pub best: Option<Best>,
    /// Evaluations since the metric got better by more than the threshold.
    pub stale: u32,
    pub stop: Option<Stop>,
    pub curve: Vec<Point>,
    pub speeds: Vec<Speed>,
    pub evaluations: Vec<Evaluation>,
    pub whole: Sums,
    pub since_point: Sums,
    pub since_evaluation: Sums,
    /// Exponential mean of the loss, for display.
    pub smooth: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Positions that the model computed, and how many of them held a token.
    pub positions: u64,
    pub tokens: u64,
    /// Number of parts that each batch is cut into; 0, the value in older checkpoints, means one.
    #[serde(default)]
    pub parts: usize,
    /// Wall time up to the checkpoint, evaluations included.
    pub seconds: f64,
}

/// Sums over some steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sums {
    pub steps: u64,
    pub loss: f64,
    pub norm: f64,
    /// Train rows.
    pub rows: u64,
    pub seconds: f64,
}

impl Sums {
    pub(super) fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.loss += other.loss;
        self.norm += other.norm;
        self.rows += other.rows;
        self.seconds += other.seconds;
    }

    /// The sums since the last call.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    pub(super) fn mean_loss(&self) -> f64 {
        self.loss / self.steps.max(1) as f64
    }

    pub(super) fn mean_norm(&self) -> f64 {
        self.norm / self.steps.max(1) as f64
    }

    /// Rows per second.
    pub(super) fn rate(&self) -> f64 {
        self.rows as f64 / self.seconds
    }
}

impl FitState {
    /// Share of padding so far.
    pub(super) fn padding(&self) -> f64 {
        if self.positions == 0 { 0.0 } else { 1.0 - self.tokens as f64 / self.positions as f64 }
    }
}

/// What a checkpoint must have in common with a fit to be usable for it.
pub(super) fn identity(
    trainee: &Trainee,
    tokens: &Tokens,
    objective: &Objective,
    options: &FitOptions,
) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    // A fit that stopped at `until` goes on without it: its steps are the same.
    let mut whole = options.clone();
    whole.training.until = None;
    hasher.update(&serde_json::to_vec(&whole)?);
    for named in walk::list(trainee) {
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
        Objective::Distill { teacher, alpha, temperature, guide } => {
            // Not the logits: a GPU may recompute them with small differences, and the finished steps are still valid.
            hasher.update(format!("{} {alpha} {temperature}", teacher.len()).as_bytes());
            hasher.update(guide.as_ref().map(Guide::identity).unwrap_or_default().as_bytes())
        }
    };
    Ok(hasher.finalize().to_hex().to_string())
}

/// Whether all trainable weights are finite.
pub(super) fn is_finite(trainee: &Trainee) -> Result<bool> {
    Ok(are_finite(&read_weights(trainee)?))
}

fn are_finite(weights: &Tensors) -> bool {
    weights.values().all(|values| values.par_iter().all(|x| x.is_finite()))
}

/// Write everything that [`resume`] needs. Frozen parameters are left out, because the caller has them.
///
/// If a weight is not finite, this writes nothing and returns false: a state that can only fail must not replace a good
/// one.
pub(super) fn save(
    checkpoints: &Checkpoints,
    state: &FitState,
    trainee: &Trainee,
    optimizer: &AdamW,
    best: Option<&Model>,
) -> Result<bool> {
    let weights = read_weights(trainee)?;
    if !are_finite(&weights) {
        return Ok(false);
    }
    let mut tensors = Tensors::new();
    let mut put = |group: &str, weights: Tensors| {
        tensors.extend(weights.into_iter().map(|(name, values)| (format!("{group}/{name}"), values)));
    };
    put("weights", weights);
    // Right after the best evaluation the model is the best one, so it is saved only once.
    if let (Some(best), Some(at)) = (best, &state.best)
        && at.step != state.step
    {
        put("best", read_weights(best)?);
    }
    for (name, [first, second]) in optimizer.to_host()? {
        put("first", Tensors::from([(name.clone(), first)]));
        put("second", Tensors::from([(name, second)]));
    }
    put("held", optimizer.masks().map(|(name, mask)| (name.to_owned(), mask.to_numbers())).collect());
    checkpoints.write(state, &tensors)?;
    Ok(true)
}

/// A fit restored from a checkpoint.
pub(super) struct Resumed {
    pub state: FitState,
    pub trainee: Trainee,
    pub best: Option<Model>,
}

/// Resume from a checkpoint that [`save`] wrote. `trainee` and `optimizer` must be as at the start of the fit.
pub(super) fn resume(
    (state, tensors): (FitState, Tensors),
    trainee: Trainee,
    optimizer: &mut AdamW,
) -> Result<Resumed> {
    let mut groups: BTreeMap<String, Tensors> = BTreeMap::new();
    for (name, values) in tensors {
        let (group, name) =
            name.split_once('/').ok_or_else(|| anyhow!("the checkpoint has a tensor `{name}` without a group"))?;
        groups.entry(group.to_owned()).or_default().insert(name.to_owned(), values);
    }
    let mut take = |group: &str| groups.remove(group).unwrap_or_default();
    let mut second = take("second");
    let moments = take("first").into_iter().map(|(name, first)| {
        let second =
            second.remove(&name).ok_or_else(|| anyhow!("the checkpoint lacks the second moment of `{name}`"))?;
        Ok((name, [first, second]))
    });
    optimizer.restore(state.step, moments.collect::<Result<_>>()?)?;
    let sizes: BTreeMap<String, usize> =
        trainee.model.parameters().iter().map(|p| (p.name.clone(), p.size())).collect();
    let masks = take("held").into_iter().map(|(name, numbers)| {
        let size = sizes.get(&name).copied().unwrap_or(0);
        let mask = Mask::from_numbers(&numbers, size).with_context(|| format!("the checkpoint's mask of `{name}`"))?;
        Ok((name, mask))
    });
    optimizer.hold(masks.collect::<Result<_>>()?)?;
    let best = take("best");
    let started = trainee.model.clone();
    let trainee = write_weights(trainee, take("weights"))?;
    let best = match &state.best {
        None => None,
        Some(at) if at.step == state.step => Some(trainee.model.clone()),
        Some(_) => Some(write_weights(started, best)?),
    };
    Ok(Resumed { state, trainee, best })
}

/// The trainable parameters on the host, by Hugging Face name, in this program's layout.
fn read_weights<M: Parameters>(model: &M) -> Result<Tensors> {
    struct Reader {
        names: BTreeMap<ParamId, String>,
        weights: Result<Tensors>,
    }
    impl ModuleVisitor for Reader {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let (Some(name), Ok(weights)) = (self.names.remove(&param.id), &mut self.weights) {
                let values = param.val().inner().try_into_data().map_err(anyhow::Error::from);
                match values.and_then(|data| data.try_into_vec::<f32>().map_err(|error| anyhow!("{name}: {error:?}"))) {
                    Ok(values) => drop(weights.insert(name, values)),
                    Err(error) => self.weights = Err(error),
                }
            }
        }
    }
    let mut reader = Reader { names: trainable(model), weights: Ok(Tensors::new()) };
    model.visit(&mut reader);
    reader.weights
}

/// Write weights from [`read_weights`] into a model of the same shape.
fn write_weights<M: Parameters>(model: M, weights: Tensors) -> Result<M> {
    struct Writer {
        names: BTreeMap<ParamId, String>,
        weights: Tensors,
        failed: Option<anyhow::Error>,
    }
    impl ModuleMapper for Writer {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(name) = self.names.remove(&param.id) else { return param };
            let values = self.weights.remove(&name).unwrap_or_default();
            if values.len() != param.shape().num_elements() {
                self.failed = Some(anyhow!("the checkpoint lacks the weights of `{name}`"));
                return param;
            }
            param.map(|tensor| {
                let (shape, device) = (tensor.shape(), tensor.device());
                let tensor = Tensor::<D>::from_data(TensorData::new(values, shape), &device);
                if device.is_autodiff() { tensor.require_grad() } else { tensor }
            })
        }
    }
    let mut writer = Writer { names: trainable(&model), weights, failed: None };
    let model = model.map(&mut writer);
    writer.failed.map_or(Ok(model), Err)
}

fn trainable<M: Parameters>(model: &M) -> BTreeMap<ParamId, String> {
    walk::list(model).into_iter().filter(|named| named.trainable).map(|named| (named.id, named.name)).collect()
}

/// Measures seconds of work; time before a resume is not counted twice.
pub(super) struct Clock {
    start: Instant,
    before: f64,
}

impl Clock {
    pub(super) fn start(before: f64) -> Self {
        Self { start: Instant::now(), before }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.before + self.start.elapsed().as_secs_f64()
    }
}
