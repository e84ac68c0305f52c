//! Train a smaller student from a teacher's logits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::base;
use super::training::{self, Trained, save_model};
use super::types::{MODEL, TOKENS};
use super::watched::{Watched, finished};
use crate::engine::kind::{Context, External, Invalid, Port, Resource, Stage};
use crate::ml::classifier::Classifier;
use crate::ml::data::Tokens;
use crate::ml::metrics::Scoring;
use crate::ml::model::{Initialised, Model};
use crate::ml::objective::Objective;
use crate::ml::student;

/// Trains a smaller student on the labels and on a teacher's softened logits: alpha·CE + (1 − alpha)·T²·KL
/// (Hinton et al., 2015).
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Own {
    /// The student to start from: a folder, or `hf:OWNER/NAME@REVISION`, with the teacher's tokenizer. Default: the
    /// teacher with fewer layers.
    #[serde(default)]
    student: Option<String>,
    /// Encoder layers that the student takes over from the teacher, evenly spaced, where no `student` is given.
    /// Default: half of them.
    #[serde(default)]
    layers: Option<usize>,
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
    const VERSION: u32 = 2;
    const INPUTS: &'static [Port] = &[Port::one("teacher", MODEL), Port::one("tokens", TOKENS)];
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
        if own.layers == Some(0) {
            wrong.push(Invalid::new("layers", "layers is 0; a student needs at least 1"));
        }
        if own.layers.is_some() && own.student.is_some() {
            wrong.push(
                Invalid::new("layers", "`layers` and `student` are both given")
                    .help("`layers` takes layers over from the teacher; a `student` of its own has its own: keep one"),
            );
        }
        wrong
    }

    fn externals(&self) -> Vec<External> {
        self.own.student.iter().map(|path| base::external("student", path)).collect()
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let (dir, teacher_dir) = (cx.input("tokens")?.dir.clone(), cx.input("teacher")?.dir.clone());
        let tokens = Tokens::open(&dir)?;
        let device = base::device(cx)?;
        let teacher = Classifier::open(&teacher_dir, &device.device)?;
        base::check_labels(teacher.labels(), &tokens, "the teacher")?;
        base::check_fit(&tokens, &teacher_dir)?;
        let (model, initialised) = match &self.own.student {
            Some(_) => {
                let loaded = Model::load(cx.external("student")?, Some(&tokens.labels), cx.seed(), &device.device)?;
                loaded.notes.into_iter().for_each(|n| cx.note(n));
                (loaded.model, loaded.initialised)
            }
            None => {
                let all = teacher.config().layers();
                let kept = student::spread(all, self.own.layers.unwrap_or(all.div_ceil(2)));
                let model = student::with_layers(teacher.model(), &kept, &device.device)?;
                cx.note(format!("the student has {} of the teacher's {all} layers: {kept:?}", kept.len()));
                (model, Initialised::Nothing)
            }
        };
        let model = training::freeze(model, self.own.finetune_layers, &initialised, cx)?;
        let scoring = Scoring {
            split: &tokens.train,
            pad_id: tokens.pad_id,
            batch_size: self.training.eval_batch_size,
            device: &device.device,
        };
        let logits = finished(scoring.logits(&|ids, mask| teacher.logits(ids, mask), &Watched::new(cx)))?;
        drop(teacher);
        let objective =
            Objective::Distill { teacher: logits, alpha: self.own.alpha, temperature: self.own.temperature };
        let fitted = self.training.fit(cx, model, &tokens, &objective, &device, 5e-5)?;
        save_model(&fitted.model, &fitted.training, &tokens.labels, &dir, &cx.output("model")?)
    }
}
