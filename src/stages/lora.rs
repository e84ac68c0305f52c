//! Trains low-rank adapters on a frozen base.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::base;
use super::shared::labels::base_for;
use super::shared::lineage::{Lineage, Step};
use super::shared::other_names;
use super::shared::training;
use super::shared::training::{ClassWeights, Task, Trained, WithTraining, check_smoothing, save_model};
use super::shared::types::{ADAPTER, MODEL, TOKENS};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{External, Extra, Invalid, MorePorts, Port, Resource, Stage};
use pipe_engine::text::other_names::OtherName;
use pipe_ml::compress::lora::{LoraConfig, Targets, save_adapter};
use pipe_ml::model::Initialised;
use pipe_ml::model::adopt::copy;
use pipe_ml::model::head::HeadKind;
use pipe_ml::text::data::{Cleaning, Tokens};
use pipe_ml::text::tokenizer;
use pipe_ml::train::fit::Hyperparameters;
use pipe_ml::train::objective::Objective;

/// Trains low-rank adapters on a frozen base model, as PEFT does; outputs the adapter and the merged model.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LoraParameters {
    /// The frozen model: a folder, or `hf:OWNER/NAME@REVISION`.
    base: String,
    /// Rank r of the adapters.
    rank: usize,
    /// The adapters' output is scaled by alpha / r. Default: twice the rank.
    #[serde(default)]
    alpha: Option<f64>,
    /// Dropout on the adapters' input.
    #[serde(default = "tenth")]
    dropout: f64,
    /// Layers that get an adapter, by the end of their name as in PEFT; `["all-linear"]` selects all except the head's.
    /// Default: the query and value projections.
    #[serde(default)]
    targets: Option<Vec<String>>,
    /// Scale by alpha / √r instead (rank-stabilised LoRA).
    #[serde(default)]
    rslora: bool,
    /// Modules besides the head to train fully and store with the adapter, such as `word_embeddings`.
    #[serde(default)]
    modules_to_save: Vec<String>,
    /// `"standard"`: the family's own classifier; `"mlp"`: three linear layers, hidden → 256 → 128 → labels, which
    /// `transformers` does not support. Default: the same as the base.
    #[serde(default)]
    head: Option<HeadKind>,
    /// Share of each target that is distributed over all classes.
    #[serde(default)]
    label_smoothing: f64,
    /// The weight of each class in the loss: `"none"`; `"balanced"`, which is rows / (classes · rows of the class); or
    /// `{ given = [1.0, 2.0] }`, one per label.
    #[serde(default)]
    class_weights: ClassWeights,
}

/// The default of `learning-rate`: few weights are trained, so their rate is higher.
const LEARNING_RATE: f64 = 2e-4;

fn tenth() -> f64 {
    0.1
}

pub type Lora = WithTraining<LoraParameters>;

impl Stage for Lora {
    const KIND: &'static str = "lora";
    // 3: the adapted layer is one operation, which rounds differently.
    // 4: the folders say how texts were cleaned and how the model was made; a base's labels are matched by name; the adapter
    // has the tokenizer and the labels; the origin of the base's config is not copied.
    const VERSION: u32 = 4;
    const OTHER_NAMES: &'static [OtherName] = other_names::LORA;
    const MAIN: Option<&'static str> = Some("rank");
    const INPUTS: &'static [Port] = &[Port::one("tokens", TOKENS)];
    const OUTPUTS: &'static [Port] = &[Port::one("model", MODEL), Port::one("adapter", ADAPTER)];
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
        let mut wrong: Vec<Invalid> =
            training::check(&self.training).into_iter().chain(check_smoothing(own.label_smoothing)).collect();
        if own.rank == 0 {
            wrong.push(Invalid::new("rank", "rank is 0; at least 1 is needed"));
        }
        if !(0.0..1.0).contains(&own.dropout) {
            wrong.push(Invalid::new(
                "dropout",
                format!("dropout is {}; it must be at least 0 and below 1", own.dropout),
            ));
        }
        if let Some(alpha) = own.alpha.filter(|a| !(a.is_finite() && *a > 0.0)) {
            wrong.push(Invalid::new("alpha", format!("alpha is {alpha}; it must be above 0")));
        }
        if own.targets.as_ref().is_some_and(Vec::is_empty) {
            wrong.push(Invalid::new("targets", "targets is empty; name at least one layer, such as \"query\""));
        }
        wrong
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
        let own = &self.own;
        let alpha = own.alpha.unwrap_or(2.0 * own.rank as f64);
        let mut config = LoraConfig {
            rank: own.rank,
            alpha,
            dropout: own.dropout,
            targets: own.targets.as_deref().map_or_else(|| Targets::usual(loaded.model.config()), Targets::of),
            rslora: own.rslora,
            modules_to_save: own.modules_to_save.clone(),
        };
        if loaded.initialised == Initialised::Everything {
            cx.warn(
                "the base has no weights: the adapter fits only the random ones of this seed; use the merged model, or a \
                 pretrained base",
            );
        }
        if let Initialised::Part(fresh) = &loaded.initialised {
            for module in config.save_fresh(fresh) {
                cx.note(format!(
                    "{module} starts from random weights: it is trained fully and stored with the adapter"
                ));
            }
        }
        let model = loaded.model.add_lora(&config, cx.seed())?;
        cx.note(format!("{} of {} parameters are trained", model.count_trainable(), model.count()));
        let objective =
            Objective::CrossEntropy { smoothing: own.label_smoothing, class_weights: own.class_weights.of(&tokens) };
        let task = Task { model, tokens: &tokens, objective: &objective, device: &device };
        let fitted = training::run(cx, task, &self.training.or_rate(LEARNING_RATE))?;
        let adapter = cx.output("adapter")?;
        save_adapter(&fitted.model, &config, &own.base, &adapter)?;
        tokenizer::copy_files(&dir, &adapter)?;
        copy(&dir, &adapter, &[Cleaning::FILE])?;
        let (model, training) = (&fitted.model.merge_lora(), &fitted.training);
        save_model(Trained { model, training, tokens: &tokens, dir: &dir, lineage, step }, &cx.output("model")?)
    }
}

#[cfg(test)]
mod tests {
    use pipe_engine::text::parameters::Parameters as _;

    use super::*;

    #[test]
    fn the_documented_learning_rate_is_the_default() {
        let schema = Lora::schema();
        let text = schema.pointer("/properties/learning-rate/description").and_then(|text| text.as_str()).unwrap();
        assert!(text.ends_with(&format!("for `lora` {LEARNING_RATE:e}.")), "{text}");
    }
}
