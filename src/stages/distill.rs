//! Trains a smaller student on a teacher's logits, and optionally on its hidden states and attention scores.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::base;
use super::shared::labels::{base_for, classifier_for, model_for};
use super::shared::layers::Layers;
use super::shared::lineage::{Lineage, Step};
use super::shared::other_names;
use super::shared::training;
use super::shared::training::{Task, Trained, WithTraining, save_model};
use super::shared::types::{MODEL, PREDICTIONS, TOKENS};
use super::shared::watched::{Watched, finished};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{External, Extra, Invalid, Labels, MorePorts, Port, Resource, Stage};
use pipe_engine::text::other_names::OtherName;
use pipe_ml::compress::student;
use pipe_ml::compute::device::Chosen;
use pipe_ml::judge::classifier::Classifier;
use pipe_ml::judge::metrics::{SCORING_ROWS, Scoring};
use pipe_ml::judge::readable::check_tokens;
use pipe_ml::model::{Initialised, Model};
use pipe_ml::text::data::align::{NamedRows, align};
use pipe_ml::text::data::predictions::Predictions;
use pipe_ml::text::data::{Split, Tokens};
use pipe_ml::train::fit::{Fitted, Hyperparameters};
use pipe_ml::train::guide::{AttentionLoss, Guide, HiddenLoss};
use pipe_ml::train::objective::Objective;

/// Trains a smaller student on the labels and on a teacher's softened logits: alpha·CE + (1 − alpha)·T²·KL
/// (Hinton et al., 2015).
///
/// The teacher is a model (`in.teacher`), or the predictions of one that `evaluate` with `split = "train"` wrote
/// (`in.logits`). A teacher with another tokenizer than the student's needs tokens of its own (`in.teacher-tokens`);
/// rows are matched by id.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DistillParameters {
    /// The student to start from: a folder, or `hf:OWNER/NAME@REVISION`; a folder with a config but no weights starts
    /// from random weights. `in.tokens` must come from its tokenizer. Default: the model on `in.student`, or the
    /// teacher with fewer layers.
    #[serde(default)]
    student: Option<String>,
    /// Encoder layers that the student takes from the teacher, if no other student is given: their number, evenly
    /// spaced, or a list counted from 0, such as `[0, 2, 4]`. Default: half of them.
    #[serde(default)]
    layers: Option<Layers>,
    /// Train only this many last encoder layers of the student and its head; embeddings and lower layers are frozen. 0
    /// trains only the head. Default: train everything.
    #[serde(default)]
    finetune_layers: Option<usize>,
    /// Share of the labels' cross-entropy in the loss; the teacher's share is the rest.
    #[serde(default = "half")]
    alpha: f64,
    /// T: both models' logits are divided by it before the softmax.
    #[serde(default = "two")]
    temperature: f64,
    /// Add the distance between the student's and the teacher's hidden states to the loss. Both must read the same
    /// tokens. If their widths differ, a linear layer between them is trained too and then discarded.
    #[serde(default)]
    hidden: Option<HiddenLoss>,
    /// Add the distance between the student's and the teacher's attention scores to the loss. Both must read the same
    /// tokens and have the same number of heads.
    #[serde(default)]
    attention: Option<AttentionLoss>,
}

fn half() -> f64 {
    0.5
}

fn two() -> f64 {
    2.0
}

pub type Distill = WithTraining<DistillParameters>;

impl Stage for Distill {
    const KIND: &'static str = "distill";
    // 3: the teacher's logits no longer depend on eval-batch-size.
    // 4: the folder says how texts were cleaned and how the model was made; labels are matched by name; the origin of the
    // base's config is not copied.
    const VERSION: u32 = 4;
    const OTHER_NAMES: &'static [OtherName] = other_names::STUDENT;
    const INPUTS: &'static [Port] = &[
        Port::optional("teacher", MODEL),
        Port::optional("logits", PREDICTIONS),
        Port::one("tokens", TOKENS),
        Port::optional("teacher-tokens", TOKENS),
        Port::optional("student", MODEL),
    ];
    const OUTPUTS: &'static [Port] = &[Port::one("model", MODEL)];
    const MORE_PORTS: MorePorts = MorePorts::ByParameters;
    const SEEDED: bool = true;
    const OPERATIONAL: &'static [&'static str] = Hyperparameters::OPERATIONAL;

    fn resource(&self) -> Resource {
        Resource::Device
    }

    fn ports(&self) -> Extra {
        training::ports(&self.training)
    }

    fn check(&self) -> Vec<Invalid> {
        let own = &self.own;
        let mut wrong = training::check(&self.training);
        if !(0.0..=1.0).contains(&own.alpha) {
            wrong.push(Invalid::new("alpha", format!("alpha is {}; it must be from 0 to 1", own.alpha)));
        }
        if !(own.temperature > 0.0 && own.temperature.is_finite()) {
            wrong.push(Invalid::new("temperature", format!("temperature is {}; it must be above 0", own.temperature)));
        }
        for (key, weight) in [("hidden", own.hidden.map(|h| h.weight)), ("attention", own.attention.map(|a| a.weight))]
        {
            if let Some(weight) = weight.filter(|weight| !(*weight > 0.0 && weight.is_finite())) {
                wrong.push(
                    Invalid::new(key, format!("the weight of `{key}` is {weight}; it must be above 0"))
                        .help(format!("leave out `{key}` for a loss without it")),
                );
            }
        }
        wrong.extend(own.layers.as_ref().and_then(Layers::check));
        if own.layers.is_some() && own.student.is_some() {
            wrong.push(
                Invalid::new("layers", "`layers` and `student` are both set")
                    .help("`layers` takes layers from the teacher, `student` uses another model: keep one of the two"),
            );
        }
        wrong
    }

    fn check_inputs(&self, labels: &Labels) -> Vec<Invalid> {
        let (own, is_wired) = (&self.own, |port: &str| labels.contains_key(port));
        let mut wrong = Vec::new();
        match (is_wired("teacher"), is_wired("logits")) {
            (false, false) => wrong.push(Invalid::new("teacher", "`distill` has no teacher").help(
                "add `in.teacher = \"STAGE\"` (a model), or `in.logits = \"STAGE.predictions\"` of an `evaluate` with \
                 split = \"train\"",
            )),
            (true, true) => wrong.push(
                Invalid::new("logits", "`in.teacher` and `in.logits` are both set")
                    .help("the logits replace the teacher: keep one of the two"),
            ),
            _ => {}
        }
        if is_wired("student") {
            let given = [("student", own.student.is_some()), ("layers", own.layers.is_some())];
            wrong.extend(given.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| {
                Invalid::new(key, format!("`{key}` and `in.student` are both set")).help("keep one of the two")
            }));
        }
        let imitated = [("hidden", own.hidden.is_some()), ("attention", own.attention.is_some())];
        let imitated = imitated.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key);
        if is_wired("logits") {
            wrong.extend(imitated.map(|key| {
                Invalid::new(key, format!("`{key}` needs a teacher model, but `in.logits` only has its logits"))
                    .help("set `in.teacher` instead of `in.logits`")
            }));
            if own.layers.is_some() || own.student.is_none() && !is_wired("student") {
                wrong.push(
                    Invalid::new(
                        "layers",
                        "with `in.logits` there is no teacher model to take the student's layers from",
                    )
                    .help("set `student`, or set `in.student` to a model"),
                );
            }
            if is_wired("teacher-tokens") {
                wrong.push(Invalid::new(
                    "teacher-tokens",
                    "`in.teacher-tokens` needs a teacher model, but `in.logits` is set",
                ));
            }
        } else if is_wired("teacher-tokens") {
            wrong.extend(imitated.map(|key| {
                Invalid::new(
                    key,
                    format!(
                        "`{key}` compares token by token, but with `in.teacher-tokens` the models read different tokens"
                    ),
                )
                .help("leave out `{key}`, or choose a student with the teacher's tokenizer")
            }));
        }
        wrong
    }

    fn externals(&self) -> Vec<External> {
        self.own.student.iter().map(|path| base::external("student", path)).collect()
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        let own = &self.own;
        let dir = cx.input("tokens")?.dir.clone();
        let tokens = Tokens::open(&dir)?;
        let device = base::device(cx)?;
        let teacher = Teacher::open(cx, &tokens, &device)?;
        let (lineage, mut step) = (own.lineage(cx)?, Step::of(self)?);
        if let Some(input) = cx.inputs("teacher").first() {
            step = step.note(format!("teacher: {}", Lineage::open(&input.dir).describe()));
        }
        let (model, initialised) = own.student(cx, &tokens, &device)?;
        let model = training::freeze(model, own.finetune_layers, &initialised, cx)?;
        let guide = match &teacher {
            Teacher::Model { classifier, .. } if own.hidden.is_some() || own.attention.is_some() => {
                Some(Guide::new(classifier.model(), &model, own.hidden, own.attention)?)
            }
            _ => None,
        };
        let objective = Objective::Distill {
            teacher: teacher.logits(cx, &tokens, &device)?,
            alpha: own.alpha,
            temperature: own.temperature,
            guide,
        };
        let task = Task { model, tokens: &tokens, objective: &objective, device: &device };
        let fitted = training::run(cx, task, &self.training)?;
        let Fitted { model, training, .. } = &fitted;
        save_model(Trained { model, training, tokens: &tokens, dir: &dir, lineage, step }, &cx.output("model")?)
    }
}

impl DistillParameters {
    /// How the student was made before this stage.
    fn lineage(&self, cx: &Context) -> Result<Lineage> {
        Ok(match (&self.student, cx.inputs("student").first()) {
            (Some(path), _) => Lineage::of_base(path, cx.external("student")?),
            (None, Some(input)) => Lineage::open(&input.dir),
            // Some of the teacher's layers.
            (None, None) => cx.inputs("teacher").first().map(|input| Lineage::open(&input.dir)).unwrap_or_default(),
        })
    }

    /// The student before training, and which of its weights are random.
    fn student(&self, cx: &mut Context, tokens: &Tokens, device: &Chosen) -> Result<(Model, Initialised)> {
        let given: Option<PathBuf> = match (&self.student, cx.inputs("student")) {
            (Some(_), _) => Some(cx.external("student")?.to_owned()),
            (None, wired) => wired.first().map(|input| input.dir.clone()),
        };
        if let Some(dir) = given {
            base::check_tokenizer(&cx.input("tokens")?.dir, &dir, "the student's", base::TAKE_THE_BASES)?;
            let loaded = match &self.student {
                Some(_) => base_for(cx, &dir, None, tokens, device)?,
                None => model_for(cx, &dir, tokens, device, "the student")?,
            };
            loaded.notes.into_iter().for_each(|n| cx.note(n));
            loaded.warnings.into_iter().for_each(|w| cx.warn(w));
            return Ok((loaded.model, loaded.initialised));
        }
        // Load it again from its files: the running teacher may have integer weights.
        let dir = cx.input("teacher")?.dir.clone();
        let teacher = model_for(cx, &dir, tokens, device, "the teacher")?.model;
        let all = teacher.depth();
        let kept = self.layers.clone().unwrap_or(Layers::Count(all.div_ceil(2))).of(all)?;
        cx.note(format!("the student has {} of the teacher's {all} layers: {kept:?}", kept.len()));
        Ok((student::with_layers(&teacher, &kept, &device.device)?, Initialised::Nothing))
    }
}

/// The source of the logits.
enum Teacher {
    Model {
        classifier: Classifier,
        /// The teacher's own tokens, if the student has another tokenizer.
        tokens: Option<Tokens>,
    },
    Predictions(Predictions),
}

impl Teacher {
    /// Open the teacher or its predictions, and check that labels and tokens fit.
    fn open(cx: &mut Context, tokens: &Tokens, device: &Chosen) -> Result<Self> {
        if let Some(input) = cx.inputs("logits").first() {
            let predictions = Predictions::read(&input.dir.join("predictions.parquet"))?;
            ensure!(
                predictions.classes == tokens.labels.len(),
                "{} gives {} logits per row, but the tokens have {} labels: {}",
                input.stage,
                predictions.classes,
                tokens.labels.len(),
                tokens.labels.join(", ")
            );
            return Ok(Self::Predictions(predictions));
        }
        let dir = cx.input("teacher")?.dir.clone();
        let classifier = classifier_for(cx, &dir, tokens, device, "the teacher")?;
        let Some(input) = cx.inputs("teacher-tokens").first() else {
            check_tokens(classifier.config(), tokens).map_err(|error| {
                anyhow::anyhow!(
                    "the teacher cannot read the tokens: {error:#}; or set `in.teacher-tokens` to tokens of the teacher's \
                     tokenizer"
                )
            })?;
            let help = "set `in.teacher-tokens` to tokens of the teacher's tokenizer";
            base::check_tokenizer(&cx.input("tokens")?.dir, &dir, "the teacher's", help)?;
            return Ok(Self::Model { classifier, tokens: None });
        };
        let theirs = Tokens::open(&input.dir)?;
        ensure!(
            theirs.labels == tokens.labels,
            "the teacher's tokens are labelled {}, but the tokens are labelled {}; both must come from one corpus",
            theirs.labels.join(", "),
            tokens.labels.join(", ")
        );
        check_tokens(classifier.config(), &theirs)?;
        base::check_tokenizer(&input.dir, &dir, "the teacher's", base::TAKE_THE_MODELS)?;
        Ok(Self::Model { classifier, tokens: Some(theirs) })
    }

    /// The teacher's logits for the train rows of `tokens`, in their order, `[N, C]`.
    fn logits(self, cx: &Context, tokens: &Tokens, device: &Chosen) -> Result<Vec<f32>> {
        let ours = rows("the tokens", &tokens.train);
        match self {
            Self::Predictions(Predictions { ids, labels, logits, classes }) => {
                let theirs = NamedRows { name: "the predictions", ids: &ids, labels: &labels };
                Ok(in_order(&logits, classes, &align(ours, theirs)?))
            }
            Self::Model { classifier, tokens: theirs } => {
                let places =
                    theirs.as_ref().map(|t| align(ours, rows("the teacher's tokens", &t.train))).transpose()?;
                let read = theirs.as_ref().unwrap_or(tokens);
                let scoring = Scoring {
                    split: &read.train,
                    pad_id: read.pad_id,
                    batch_size: SCORING_ROWS,
                    device: &device.device,
                };
                let logits = finished(scoring.logits(&|ids, mask| classifier.logits(ids, mask), &Watched::new(cx)))?;
                Ok(match places {
                    None => logits,
                    Some(places) => in_order(&logits, tokens.labels.len(), &places),
                })
            }
        }
    }
}

fn rows<'a>(name: &'a str, split: &'a Split) -> NamedRows<'a> {
    NamedRows { name, ids: split.ids(), labels: split.labels() }
}

/// The rows of `logits` `[N, classes]` in the order of `places`.
fn in_order(logits: &[f32], classes: usize, places: &[usize]) -> Vec<f32> {
    places.iter().flat_map(|place| &logits[place * classes..][..classes]).copied().collect()
}
