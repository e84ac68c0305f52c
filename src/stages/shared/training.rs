//! Shared by the kinds that train: a kind's own parameters beside those of the training loop, and running it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::lineage::{Lineage, Rows, Scores, Step};
use super::types::STATE;
use super::watched::{Watched, finished};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Extra, Invalid, Port};
use pipe_engine::text::diagnostic::{Diagnostic, Place};
use pipe_engine::text::parameters::{Parameters, json_of_both, read_both, schema_of_both};
use pipe_engine::text::value::Table;
use pipe_ml::compute::device::{Chosen, is_cpu, pool_bytes};
use pipe_ml::model::adopt::copy;
use pipe_ml::model::{Initialised, Model};
use pipe_ml::text::data::{Cleaning, Tokens};
use pipe_ml::text::tokenizer;
use pipe_ml::train::checkpoint::CHECKPOINT;
use pipe_ml::train::fit;
use pipe_ml::train::fit::{FitOptions, Fitted, Hyperparameters, fit};
use pipe_ml::train::objective::Objective;

/// A kind's own parameters and those of training, side by side in the file.
pub struct WithTraining<A, T = Hyperparameters> {
    pub own: A,
    pub training: T,
}

impl<A: Parameters, T: Parameters> Parameters for WithTraining<A, T> {
    fn read(table: &Table, owner: &str, place: &Place) -> Result<Self, Vec<Diagnostic>> {
        read_both(table, owner, place).map(|(own, training)| Self { own, training })
    }

    fn keys() -> Vec<&'static str> {
        [A::keys(), T::keys()].concat()
    }

    fn schema() -> Schema {
        schema_of_both::<A, T>()
    }

    fn to_json(&self) -> anyhow::Result<serde_json::Value> {
        json_of_both(&self.own, &self.training)
    }
}

/// The values of `training` that are not valid.
pub fn check(training: &Hyperparameters) -> Vec<Invalid> {
    training.check().into_iter().map(|problem| Invalid::new(problem.key, problem.message)).collect()
}

/// The port of the state from which a training that stopped at `until` goes on.
const STATE_PORT: &str = "state";

/// The output that `until` adds.
pub fn ports(training: &Hyperparameters) -> Extra {
    let outputs = training.until.map(|_| Port::one(STATE_PORT, STATE)).into_iter().collect();
    Extra { inputs: Vec::new(), outputs }
}

/// What a stage trains, and on what.
pub struct Task<'a> {
    pub model: Model,
    pub tokens: &'a Tokens,
    pub objective: &'a Objective,
    pub device: &'a Chosen,
}

/// Run the training loop on all devices and record its results.
pub fn run(cx: &mut Context, task: Task, training: &Hyperparameters) -> Result<Fitted> {
    let options = FitOptions::on(task.device, training.clone(), cx.seed())?;
    run_with(cx, task, options)
}

/// The same with other options.
pub fn run_with(cx: &mut Context, task: Task, options: FitOptions) -> Result<Fitted> {
    let Task { model, tokens, objective, device } = task;
    let training = &options.training;
    training.precision.check(&device.device)?;
    if !training.precision.is_f32() && is_cpu(&device.device) {
        cx.note("bf16 is slower than f32 on the CPU, which computes it in f32 and rounds");
    }
    let checkpoints = cx.checkpoints()?;
    let fitted =
        finished(fit(model, tokens, objective, &options, Some(&checkpoints), &device.device, &Watched::new(cx)))?;
    if training.until.is_some() {
        let (from, to) = (checkpoints.join(CHECKPOINT), cx.output(STATE_PORT)?.join(CHECKPOINT));
        std::fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    cx.took(fitted.timings.seconds);
    let padding = fitted.training.padding;
    if let Some(best) = fitted.training.best {
        cx.fact("validation", best.value);
        cx.fact("best-epoch", best.epoch);
        cx.note(format!(
            "kept the model of step {} (epoch {:.2}): {} {:.4}; {:.0}% of all positions were padding",
            best.step,
            best.epoch,
            training.metric.name(),
            best.value,
            100.0 * padding
        ));
    } else {
        cx.note(format!("kept the last model; {:.0}% of all positions were padding", 100.0 * padding));
    }
    cx.fact("steps", fitted.training.steps as f64);
    cx.fact("padding", fitted.training.padding);
    cx.fact("trainable-parameters", fitted.training.trainable_parameters as f64);
    cx.fact("samples-per-second", fitted.timings.samples_per_second);
    if let Some(bytes) = fitted.timings.peak_memory_bytes {
        cx.fact("peak-memory-bytes", bytes as f64);
    }
    if let Some(bytes) = pool_bytes(&device.device) {
        cx.fact("device-memory-bytes", bytes as f64);
    }
    let rows = fitted.timings.curve.iter().map(|speed| {
        // Speed to a tenth and memory to a kilobyte: further digits are noise.
        let rate = (speed.samples_per_second * 10.0).round() / 10.0;
        let memory = speed.peak_memory_bytes.map(|bytes| (bytes / 1000 * 1000) as f64);
        vec![Some(speed.step as f64), Some(rate), memory]
    });
    cx.curve(&["step", "samples-per-second", "peak-memory-bytes"], rows);
    Ok(fitted)
}

/// A trained model to write.
pub struct Trained<'a> {
    pub model: &'a Model,
    pub training: &'a fit::Training,
    pub tokens: &'a Tokens,
    /// The folder of the tokens, which has the tokenizer and how texts were cleaned.
    pub dir: &'a Path,
    /// How the model was made before this stage, and this stage.
    pub lineage: Lineage,
    pub step: Step,
}

/// Write a model folder: weights, config, the tokenizer of the tokens, and how the model was trained.
pub fn save_model(trained: Trained, out: &Path) -> Result<()> {
    let Trained { model, training, tokens, dir, lineage, mut step } = trained;
    model.save(out, &tokens.labels)?;
    tokenizer::copy_files(dir, out)?;
    copy(dir, out, &[Cleaning::FILE])?;
    let path = out.join("training.json");
    let text = serde_json::to_string_pretty(training)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    training.write_curve(&out.join("training.parquet"))?;
    step.settings.entry("learning-rate".into()).or_insert_with(|| training.options.training.rate().into());
    step.rows = Some(Rows::of(tokens));
    step.scores = Scores::of(training);
    lineage.then(step).write(out)
}

/// The weight of each class in the loss.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// The same for all classes.
    #[default]
    None,
    /// Higher for rare classes: rows / (classes · rows of the class).
    Balanced,
    /// One weight per label, in the order of the labels: `{ given = [1.0, 2.0] }`.
    Given(Vec<f32>),
}

impl ClassWeights {
    pub fn of(&self, tokens: &Tokens) -> Option<Vec<f32>> {
        match self {
            Self::None => None,
            Self::Balanced => Some(Objective::balanced(tokens.train.labels(), tokens.labels.len())),
            Self::Given(weights) => Some(weights.clone()),
        }
    }
}

/// Freeze everything except the last encoder layers and the head, if requested.
pub fn freeze(model: Model, layers: Option<usize>, initialised: &Initialised, cx: &Context) -> Result<Model> {
    let Some(layers) = layers else { return Ok(model) };
    let model = model.finetune_last(layers)?;
    let frozen: BTreeSet<String> =
        model.parameters().into_iter().filter(|named| !named.trainable).map(|named| named.name).collect();
    let fresh = match initialised {
        Initialised::Nothing => 0,
        Initialised::Part(fresh) => fresh.iter().filter(|name| frozen.contains(*name)).count(),
        Initialised::Everything => frozen.len(),
    };
    if fresh > 0 {
        cx.warn(format!("{fresh} of the {} frozen tensors have random values and will keep them", frozen.len()));
    }
    cx.note(format!("{} of {} parameters are trained", model.count_trainable(), model.count()));
    Ok(model)
}

/// Check label smoothing, for the kinds that have it.
pub fn check_smoothing(smoothing: f64) -> Option<Invalid> {
    (!(0.0..1.0).contains(&smoothing)).then(|| {
        Invalid::new("label-smoothing", format!("label-smoothing is {smoothing}; it must be at least 0 and below 1"))
    })
}

#[cfg(test)]
mod tests {
    use pipe_engine::text::diagnostic::Source;
    use pipe_engine::text::value;
    use serde_json::{Value, json};

    use super::*;
    use crate::stages::distill::Distill;
    use crate::stages::lora::Lora;
    use crate::stages::prune::Prune;
    use crate::stages::train::Train;

    /// What a manifest takes of the parameters in `text`: without what is not set or is operational.
    fn manifest<T: Parameters>(text: &str) -> Value {
        let source = Source::new("p.toml", text);
        let table = value::parse(&source).unwrap();
        let read = T::read(&table, "a stage", &Place::new(&source, 0..0)).unwrap_or_else(|e| panic!("{e:?}"));
        let Value::Object(mut all) = read.to_json().unwrap() else { panic!("no object") };
        all.retain(|name, value| !value.is_null() && !Hyperparameters::OPERATIONAL.contains(&name.as_str()));
        all.into()
    }

    /// The training parameters that every result depends on, with these changes.
    fn with(changes: Value) -> Value {
        let mut all = json!({
            "accumulation": 1, "batch-size": 16, "betas": [0.9, 0.999], "clip": 1.0, "cycles": 1, "epochs": 3,
            "epsilon": 1e-8, "gradient-checkpointing": false, "metric": "macro-f1", "padding": "bucketed",
            "precision": "f32", "schedule": "linear", "threshold": 0.0, "weight-decay": 0.0
        });
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    }

    /// A name, a value or a default that changes here makes every result in every cache out of date.
    #[test]
    fn the_parameters_in_fingerprints_never_change() {
        let labels = json!({ "base": "b", "class-weights": "none", "label-smoothing": 0.0 });
        assert_eq!(manifest::<Train>("base = 'b'"), with(labels));
        assert_eq!(
            manifest::<Lora>("base = 'b'\nrank = 4"),
            with(json!({
                "base": "b", "class-weights": "none", "label-smoothing": 0.0, "dropout": 0.1, "modules-to-save": [],
                "rank": 4, "rslora": false
            }))
        );
        assert_eq!(manifest::<Distill>(""), with(json!({ "alpha": 0.5, "temperature": 2.0 })));
        let pruned = json!({ "recover-epochs": 0, "scope": "local", "sparsity": 0.3 });
        assert_eq!(manifest::<Prune>("sparsity = 0.3"), pruned);
        let mut recovered = with(json!({ "clip": 2.0, "recover-epochs": 1, "scope": "local", "sparsity": 0.5 }));
        recovered.as_object_mut().unwrap().remove("epochs");
        assert_eq!(manifest::<Prune>("sparsity = 0.5\nrecover-epochs = 1\nclip = 2"), recovered);
        let everything = "base = 'b'\nlearning-rate = 1e-3\nschedule = 'cosine-with-restarts'\nwarmup-ratio = 0.1\n\
                          warmup-steps = 5\neval-steps = 40\npatience = 9\npadding = { fixed = 60 }\nprecision = 'bf16'\n\
                          memory-fraction = 0.5\neval-batch-size = 8\ncheckpoint-minutes = 1";
        assert_eq!(
            manifest::<Train>(everything),
            with(json!({
                "base": "b", "class-weights": "none", "label-smoothing": 0.0, "learning-rate": 0.001,
                "schedule": "cosine-with-restarts", "warmup-ratio": 0.1, "warmup-steps": 5, "eval-steps": 40,
                "patience": 9, "padding": { "fixed": 60 }, "precision": "bf16"
            }))
        );
    }

    #[test]
    fn the_keys_are_those_of_the_schema() {
        fn assert_keys<T: Parameters>() {
            let schema = T::schema();
            let properties = schema.get("properties").and_then(|properties| properties.as_object()).unwrap();
            let mut keys = T::keys();
            keys.sort_unstable();
            assert!(keys.iter().eq(properties.keys()), "{keys:?} {:?}", properties.keys());
        }
        assert_keys::<Train>();
        assert_keys::<Lora>();
        assert_keys::<Distill>();
        assert_keys::<Prune>();
    }
}
