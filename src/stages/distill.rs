//! Train a smaller student from a teacher's logits, and from more of it where asked.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::base;
use super::layers::Layers;
use super::training;
use super::training::{Trained, save_model};
use super::types::{MODEL, PREDICTIONS, TOKENS};
use super::watched::{Watched, finished};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{External, Invalid, Labels, Port, Resource, Stage};
use pipe_ml::compress::student;
use pipe_ml::compute::device::Chosen;
use pipe_ml::judge::classifier::Classifier;
use pipe_ml::judge::metrics::{SCORING_ROWS, Scoring};
use pipe_ml::model::{Config, Initialised, Model};
use pipe_ml::text::data::align::{Rows, align};
use pipe_ml::text::data::predictions::Predictions;
use pipe_ml::text::data::{Split, Tokens};
use pipe_ml::train::guide::{AttentionLoss, Guide, HiddenLoss};
use pipe_ml::train::objective::Objective;

/// Trains a smaller student on the labels and on a teacher's softened logits: alpha·CE + (1 − alpha)·T²·KL
/// (Hinton et al., 2015).
///
/// The teacher is a model (`in.teacher`), or what `evaluate` with `split = "train"` kept of one (`in.logits`). One that reads
/// other tokens than the student gets its own (`in.teacher-tokens`); rows meet by id.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Own {
    /// The student to start from: a folder, or `hf:OWNER/NAME@REVISION`; a folder with a config and no weights starts from
    /// random ones. `in.tokens` must be of its tokenizer. Default: the model on `in.student`, or the teacher with fewer layers.
    #[serde(default)]
    student: Option<String>,
    /// Encoder layers that the student takes over from the teacher, where no other student is given: how many, evenly spaced,
    /// or which, counted from 0: `[0, 2, 4]`. Default: half of them.
    #[serde(default)]
    layers: Option<Layers>,
    /// Train only the last so many encoder layers of the student and its head; embeddings and the layers below are frozen.
    /// 0: the head alone. Default: all is trained.
    #[serde(default)]
    finetune_layers: Option<usize>,
    /// Share of the labels' cross-entropy in the loss; the rest is the teacher's.
    #[serde(default = "half")]
    alpha: f64,
    /// T, by which both models' logits are divided before the softmax.
    #[serde(default = "two")]
    temperature: f64,
    /// Add the distance of the student's hidden states from the teacher's to the loss. Both must read the same tokens; where
    /// their widths differ, a linear layer between them is trained along and thrown away.
    #[serde(default)]
    hidden: Option<HiddenLoss>,
    /// Add the distance of the student's attention scores from the teacher's. Both must read the same tokens and have as many
    /// heads.
    #[serde(default)]
    attention: Option<AttentionLoss>,
}

fn half() -> f64 {
    0.5
}

fn two() -> f64 {
    2.0
}

pub type Distill = Trained<Own>;

impl Stage for Distill {
    const KIND: &'static str = "distill";
    // 3: the teacher's logits no longer depend on eval-batch-size.
    const VERSION: u32 = 3;
    const INPUTS: &'static [Port] = &[
        Port::optional("teacher", MODEL),
        Port::optional("logits", PREDICTIONS),
        Port::one("tokens", TOKENS),
        Port::optional("teacher-tokens", TOKENS),
        Port::optional("student", MODEL),
    ];
    const OUTPUTS: &'static [Port] = &[Port::one("model", MODEL)];
    const SEEDED: bool = true;
    const OPERATIONAL: &'static [&'static str] = training::OPERATIONAL;

    fn resource(&self) -> Resource {
        Resource::Device
    }

    fn check(&self) -> Vec<Invalid> {
        let own = &self.own;
        let mut wrong = self.training.check();
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
                        .help(format!("leave `{key}` out for a loss without it")),
                );
            }
        }
        wrong.extend(own.layers.as_ref().and_then(Layers::check));
        if own.layers.is_some() && own.student.is_some() {
            wrong.push(
                Invalid::new("layers", "`layers` and `student` are both given")
                    .help("`layers` takes layers over from the teacher; a `student` of its own has its own: keep one"),
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
                Invalid::new("logits", "`teacher` and `logits` are both wired")
                    .help("the logits stand in for the teacher that gave them: keep one of the two"),
            ),
            _ => {}
        }
        if is_wired("student") {
            let given = [("student", own.student.is_some()), ("layers", own.layers.is_some())];
            wrong.extend(given.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| {
                Invalid::new(key, format!("`{key}` and `in.student` are both given")).help("keep one of the two")
            }));
        }
        let imitated = [("hidden", own.hidden.is_some()), ("attention", own.attention.is_some())];
        let imitated = imitated.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key);
        if is_wired("logits") {
            wrong.extend(imitated.map(|key| {
                Invalid::new(key, format!("`{key}` needs a teacher at work, and `in.logits` are only what one left"))
                    .help("wire the teacher itself to `in.teacher`")
            }));
            if own.layers.is_some() || own.student.is_none() && !is_wired("student") {
                wrong.push(
                    Invalid::new("layers", "with `in.logits` there is no teacher to take the student's layers from")
                        .help("give a `student`, or wire a model to `in.student`"),
                );
            }
            if is_wired("teacher-tokens") {
                wrong.push(Invalid::new(
                    "teacher-tokens",
                    "with `in.logits` there is no teacher to read `in.teacher-tokens`",
                ));
            }
        } else if is_wired("teacher-tokens") {
            wrong.extend(imitated.map(|key| {
                Invalid::new(
                    key,
                    format!("`{key}` compares token by token, and with `in.teacher-tokens` they are others"),
                )
                .help("leave it out, or choose a student with the teacher's tokenizer")
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
        let fitted = self.training.fit(cx, model, &tokens, &objective, &device, 5e-5)?;
        save_model(&fitted.model, &fitted.training, &tokens.labels, &dir, &cx.output("model")?)
    }
}

impl Own {
    /// The student as it starts, and what of it is random.
    fn student(&self, cx: &mut Context, tokens: &Tokens, device: &Chosen) -> Result<(Model, Initialised)> {
        let given: Option<PathBuf> = match (&self.student, cx.inputs("student")) {
            (Some(_), _) => Some(cx.external("student")?.to_owned()),
            (None, wired) => wired.first().map(|input| input.dir.clone()),
        };
        if let Some(dir) = given {
            if self.student.is_none() {
                base::check_labels(Config::open(&dir)?.labels(), tokens, "the student")?;
            }
            let loaded = Model::load(&dir, Some(&tokens.labels), cx.seed(), &device.device)?;
            loaded.notes.into_iter().for_each(|n| cx.note(n));
            return Ok((loaded.model, loaded.initialised));
        }
        // From its files: a teacher at work may have integers for weights.
        let teacher = Model::load(&cx.input("teacher")?.dir, Some(&tokens.labels), cx.seed(), &device.device)?.model;
        let all = teacher.depth();
        let kept = self.layers.clone().unwrap_or(Layers::Count(all.div_ceil(2))).of(all)?;
        cx.note(format!("the student has {} of the teacher's {all} layers: {kept:?}", kept.len()));
        Ok((student::with_layers(&teacher, &kept, &device.device)?, Initialised::Nothing))
    }
}

/// Where the logits come from.
enum Teacher {
    Model {
        classifier: Classifier,
        /// Its own, where the student's tokenizer is another.
        tokens: Option<Tokens>,
    },
    Predictions(Predictions),
}

impl Teacher {
    /// What is wired, after making sure that it speaks of the rows and labels of the student's `tokens`.
    fn open(cx: &mut Context, tokens: &Tokens, device: &Chosen) -> Result<Self> {
        if let Some(input) = cx.inputs("logits").first() {
            let predictions = Predictions::read(&input.dir.join("predictions.parquet"))?;
            ensure!(
                predictions.classes == tokens.labels.len(),
                "{} gives {} logits a row, but the tokens have {} labels: {}",
                input.stage,
                predictions.classes,
                tokens.labels.len(),
                tokens.labels.join(", ")
            );
            return Ok(Self::Predictions(predictions));
        }
        let dir = cx.input("teacher")?.dir.clone();
        let classifier = Classifier::open(&dir, &device.device)?;
        base::check_labels(classifier.labels(), tokens, "the teacher")?;
        let Some(input) = cx.inputs("teacher-tokens").first() else {
            base::check_fit(tokens, &dir).map_err(|error| {
                anyhow::anyhow!("{error:#}; or wire tokens of the teacher's tokenizer to `in.teacher-tokens`")
            })?;
            if is_another_tokenizer(&cx.input("tokens")?.dir, &dir) {
                cx.warn(
                    "the teacher's tokenizer differs from that of the tokens, though it knows their ids; if it reads other \
                     tokens, wire its own to `in.teacher-tokens`",
                );
            }
            return Ok(Self::Model { classifier, tokens: None });
        };
        let theirs = Tokens::open(&input.dir)?;
        base::check_labels(classifier.labels(), &theirs, "the teacher")?;
        base::check_fit(&theirs, &dir)?;
        Ok(Self::Model { classifier, tokens: Some(theirs) })
    }

    /// Its logits for the train rows of `tokens`, in their order, `[N, C]`.
    fn logits(self, cx: &Context, tokens: &Tokens, device: &Chosen) -> Result<Vec<f32>> {
        let ours = rows("the tokens", &tokens.train);
        match self {
            Self::Predictions(Predictions { ids, labels, logits, classes }) => {
                let theirs = Rows { name: "the predictions", ids: &ids, labels: &labels };
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

fn rows<'a>(name: &'a str, split: &'a Split) -> Rows<'a> {
    Rows { name, ids: split.ids(), labels: split.labels() }
}

/// The rows of `logits` `[N, classes]` at these places.
fn in_order(logits: &[f32], classes: usize, places: &[usize]) -> Vec<f32> {
    places.iter().flat_map(|place| &logits[place * classes..][..classes]).copied().collect()
}

/// Whether the files of tokens and of a model are those of two tokenizers, as far as they tell.
fn is_another_tokenizer(tokens: &Path, model: &Path) -> bool {
    let read = |dir: &Path| std::fs::read(dir.join("tokenizer.json")).ok();
    matches!((read(tokens), read(model)), (Some(ours), Some(theirs)) if ours != theirs)
}
