//! Brings a model that is already trained into a pipeline.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::base;
use super::shared::lineage::Lineage;
use super::shared::types::MODEL;
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{External, Invalid, Port, Stage};
use pipe_ml::files::weights;
use pipe_ml::judge::decide::Decision;
use pipe_ml::model::adopt::{adopt, copy};
use pipe_ml::model::relabel::are_numbered;
use pipe_ml::model::{Config, shortened};
use pipe_ml::text::data::Cleaning;
use pipe_ml::text::tokenizer;
use pipe_ml::text::tokenizer::Limit;

/// Brings a model that is already trained into a pipeline, to evaluate, compress, convert, distill from or compare it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrainedModel {
    /// The model: a folder, or `hf:OWNER/NAME@REVISION`. It needs a config, weights with a classifier, and a tokenizer.
    model: String,
    /// Label names in the order of the classifier's outputs, for a model whose config has none (`LABEL_0`, …) or other
    /// ones. Default: those of its config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<String>>,
}

/// Files besides config, weights and tokenizer that say how a model was made, and how to use it.
const HISTORY: [&str; 5] = [Cleaning::FILE, "training.json", "training.parquet", "pruning.json", "quantization.json"];

impl Stage for TrainedModel {
    const KIND: &'static str = "model";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("model");
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[Port::one("model", MODEL)];

    fn check(&self) -> Vec<Invalid> {
        let labels = self.labels.as_deref().unwrap_or_default();
        let twice = labels.iter().enumerate().find(|(i, label)| labels[..*i].contains(label));
        twice.map(|(_, label)| Invalid::new("labels", format!("labels has `{label}` twice"))).into_iter().collect()
    }

    fn externals(&self) -> Vec<External> {
        vec![base::external("model", &self.model)]
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let dir = cx.external("model")?.to_owned();
        let out = cx.output("model")?;
        let adopted = adopt(&dir, &out, self.labels.as_deref())?;
        adopted.notes.into_iter().for_each(|note| cx.note(note));
        adopted.warnings.into_iter().for_each(|warning| cx.warn(warning));
        if tokenizer::files(&dir).is_empty() {
            cx.warn("the model has no tokenizer: `predict` cannot use it");
        } else {
            let length = Config::open(&out)?.max_length();
            let remarks = tokenizer::save(&dir, &out, Limit::Positions(length))?;
            remarks.into_iter().for_each(|remark| cx.warn(remark));
        }
        copy(&dir, &out, &HISTORY)?;
        keep_decision(cx, (&dir, &out), &adopted.labels)?;
        Lineage::of_base(&self.model, &dir).write(&out)?;
        if are_numbered(&adopted.labels) {
            let names = shortened(&adopted.labels);
            cx.note(format!(
                "its labels have no names, only {names}; name them with `labels = […]` in the order of its outputs"
            ));
        }
        cx.fact("bytes", weights::bytes(&out)? as f64);
        Ok(())
    }
}

/// Take over the decision beside the model. A file of that name may be another program's, or be for labels that were renamed.
fn keep_decision(cx: &Context, (dir, out): (&Path, &Path), labels: &[String]) -> anyhow::Result<()> {
    match Decision::beside(dir).and_then(|found| found.map(|decision| decision.for_labels(labels)).transpose()) {
        Ok(found) => found.map_or(Ok(()), |decision| decision.write(out)),
        Err(error) => {
            cx.warn(format!("the {} beside the model is left out: {error:#}", Decision::FILE));
            Ok(())
        }
    }
}
