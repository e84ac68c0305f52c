//! Fine-tunes a whole model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::base;
use super::shared::labels::base_for;
use super::shared::lineage::{Lineage, Step};
use super::shared::other_names;
use super::shared::training;
use super::shared::training::{ClassWeights, Task, Trained, WithTraining, check_smoothing, save_model};
use super::shared::types::{MODEL, TOKENS};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{External, Extra, Invalid, MorePorts, Port, Resource, Stage};
use pipe_engine::text::other_names::OtherName;
use pipe_ml::model::head::HeadKind;
use pipe_ml::text::data::Tokens;
use pipe_ml::train::fit::{Fitted, Hyperparameters};
use pipe_ml::train::objective::Objective;

/// Fine-tunes a model and keeps the best one of all evaluations on the validation rows.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainParameters {
    /// The model to start from: a folder, or `hf:OWNER/NAME@REVISION`. A folder without weights starts from random
    /// weights.
    base: String,
    /// `"standard"`: the family's own classifier; `"mlp"`: three linear layers, hidden → 256 → 128 → labels, which
    /// `transformers` does not support. Default: the same as the base.
    #[serde(default)]
    head: Option<HeadKind>,
    /// Train only this many last encoder layers and the head; embeddings and lower layers are frozen. 0 trains only the
    /// head. Default: train everything.
    #[serde(default)]
    finetune_layers: Option<usize>,
    /// Share of each target that is distributed over all classes.
    #[serde(default)]
    label_smoothing: f64,
    /// The weight of each class in the loss: `"none"`; `"balanced"`, which is rows / (classes · rows of the class); or
    /// `{ given = [1.0, 2.0] }`, one per label.
    #[serde(default)]
    class_weights: ClassWeights,
}

pub type Train = WithTraining<TrainParameters>;

impl Stage for Train {
    const KIND: &'static str = "train";
    // 3: the folder says how texts were cleaned and how the model was made; a base's labels are matched by name; the origin of
    // the base's config is not copied.
    const VERSION: u32 = 3;
    const OTHER_NAMES: &'static [OtherName] = other_names::TRAIN;
    const INPUTS: &'static [Port] = &[Port::one("tokens", TOKENS)];
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
        training::check(&self.training).into_iter().chain(check_smoothing(self.own.label_smoothing)).collect()
    }

    fn externals(&self) -> Vec<External> {
        vec![base::external("base", &self.own.base)]
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let dir = cx.input("tokens")?.dir.clone();
        let tokens = Tokens::open(&dir)?;
        let device = base::device(cx)?;
        let base = cx.external("base")?;
        base::check_tokenizer(&dir, base, "the base's", base::TAKE_THE_BASES)?;
        let (lineage, step) = (Lineage::of_base(&self.own.base, base), Step::of(self)?);
        let loaded = base_for(cx, base, self.own.head, &tokens, &device)?;
        loaded.notes.into_iter().for_each(|n| cx.note(n));
        loaded.warnings.into_iter().for_each(|w| cx.warn(w));
        let model = training::freeze(loaded.model, self.own.finetune_layers, &loaded.initialised, cx)?;
        let objective = Objective::CrossEntropy {
            smoothing: self.own.label_smoothing,
            class_weights: self.own.class_weights.of(&tokens),
        };
        let task = Task { model, tokens: &tokens, objective: &objective, device: &device };
        let fitted = training::run(cx, task, &self.training)?;
        let Fitted { model, training, .. } = &fitted;
        save_model(Trained { model, training, tokens: &tokens, dir: &dir, lineage, step }, &cx.output("model")?)
    }
}
