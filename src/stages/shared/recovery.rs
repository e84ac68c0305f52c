//! Training after a compression, for the kinds that offer it.

use anyhow::Result;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::lineage::{Lineage, Step};
use super::training;
use super::training::{Task, Trained, save_model};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Invalid, Need};
use pipe_engine::text::diagnostic::{Diagnostic, Place};
use pipe_engine::text::parameters::{Parameters, json_of_both, read_both, schema_of_both};
use pipe_engine::text::value::Table;
use pipe_ml::compress::prune;
use pipe_ml::compress::prune::Pruning;
use pipe_ml::compute::device::Chosen;
use pipe_ml::model::Model;
use pipe_ml::text::data::Tokens;
use pipe_ml::train::fit::{FitOptions, Fitted, Hyperparameters};
use pipe_ml::train::objective::Objective;

/// The parameter that requests it.
pub const KEY: &str = "recover-epochs";
/// The parameter of training that it replaces, and the one that stops in the middle of these epochs.
const NOT_HERE: [&str; 2] = ["epochs", "until"];

/// The training parameters of the recovery; without `recover-epochs` none of them may be set.
pub struct Recovery(Hyperparameters);

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RecoveryParameters {
    /// Passes over the training rows of `in.tokens` to train the pruned model; weights of linear layers that are zero
    /// stay zero. The parameters of training apply to this; with 0 passes nothing is trained.
    #[serde(default)]
    recover_epochs: u32,
}

impl Recovery {
    /// The training parameters, if the model is to be trained.
    pub fn training(&self) -> Option<&Hyperparameters> {
        (self.0.epochs > 0).then_some(&self.0)
    }

    pub fn check(&self) -> Vec<Invalid> {
        self.training().map_or(Vec::new(), training::check)
    }

    pub fn needs(&self) -> Vec<Need> {
        self.training().map(|_| Need { port: "tokens", key: KEY }).into_iter().collect()
    }
}

/// A pruned model to train.
pub struct PrunedModel<'a> {
    pub model: Model,
    pub tokens: &'a Tokens,
    pub device: &'a Chosen,
    /// Weights to prune before or during training. These and all other zeros of linear layers stay zero.
    pub pruning: Pruning,
    /// How the model was made before this stage, and this stage.
    pub lineage: Lineage,
    pub step: Step,
}

/// Train the model and write the output `model`.
pub fn recover(cx: &mut Context, pruned: PrunedModel, training: &Hyperparameters) -> Result<(Model, prune::Recovery)> {
    let PrunedModel { model, tokens, device, pruning, lineage, step } = pruned;
    let options = FitOptions { pruning: Some(pruning), ..FitOptions::on(device, training.clone(), cx.seed())? };
    let task = Task { model, tokens, objective: &Objective::cross_entropy(), device };
    let fitted = training::run_with(cx, task, options)?;
    let (rows, out) = (cx.input("tokens")?.dir.clone(), cx.output("model")?);
    let Fitted { model, training: how, .. } = &fitted;
    save_model(Trained { model, training: how, tokens, dir: &rows, lineage, step }, &out)?;
    let recovery = prune::Recovery {
        epochs: training.epochs,
        steps: fitted.training.steps,
        best_epoch: fitted.training.best.map(|best| best.epoch),
    };
    Ok((fitted.model, recovery))
}

impl Parameters for Recovery {
    fn read(table: &Table, owner: &str, place: &Place) -> Result<Self, Vec<Diagnostic>> {
        let (own, training) = read_both::<RecoveryParameters, Hyperparameters>(table, owner, place)?;
        let idle = table.0.iter().filter(|item| item.key != KEY && own.recover_epochs == 0);
        let idle = idle.map(|item| {
            Diagnostic::new(format!("`{}` is set, but {owner} trains nothing without `{KEY}`", item.key))
                .at(&item.key_place)
                .label("has no effect")
                .help(format!("add `{KEY} = 1` and `in.tokens`, or remove this line"))
        });
        let problems: Vec<Diagnostic> = idle.collect();
        if problems.is_empty() {
            Ok(Self(Hyperparameters { epochs: own.recover_epochs, ..training }))
        } else {
            Err(problems)
        }
    }

    fn keys() -> Vec<&'static str> {
        let mut keys = [RecoveryParameters::keys(), Hyperparameters::keys()].concat();
        keys.retain(|key| !NOT_HERE.contains(key));
        keys
    }

    fn schema() -> Schema {
        let mut schema = schema_of_both::<RecoveryParameters, Hyperparameters>();
        if let Some(properties) = schema.get_mut("properties").and_then(|properties| properties.as_object_mut()) {
            NOT_HERE.iter().for_each(|key| drop(properties.remove(*key)));
        }
        schema
    }

    fn to_json(&self) -> anyhow::Result<serde_json::Value> {
        let own = RecoveryParameters { recover_epochs: self.0.epochs };
        let Some(training) = self.training() else { return own.to_json() };
        let mut all = json_of_both(&own, training)?;
        if let Some(all) = all.as_object_mut() {
            NOT_HERE.iter().for_each(|key| drop(all.remove(*key)));
        }
        Ok(all)
    }
}
