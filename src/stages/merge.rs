//! Merges an adapter that was trained elsewhere into its base.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::base;
use super::shared::lineage::{Lineage, Step};
use super::shared::types::MODEL;
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{External, Invalid, Port, Stage};
use pipe_ml::compress::lora::merge;
use pipe_ml::model::adopt::copy;
use pipe_ml::text::data::Cleaning;
use pipe_ml::text::tokenizer;
use pipe_ml::text::tokenizer::Limit;

/// Merges an adapter in PEFT's format into its base model, so that a model adapted elsewhere can be compressed and
/// compared.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Merge {
    /// Folder with adapter_config.json and adapter_model.safetensors (or adapter_model.bin, read without running it).
    adapter: String,
    /// The model that the adapter was trained on: a folder, or `hf:OWNER/NAME@REVISION`; its tokenizer is copied
    /// unless the adapter's folder has one.
    base: String,
    /// Label names in the order of the head's outputs. Default: those of the adapter (a `config.json` in its folder), or
    /// of the base, or `LABEL_0`, … with a warning if their number differs.
    #[serde(default)]
    labels: Option<Vec<String>>,
}

/// The names that transformers gives to labels without names begin with this.
const UNNAMED: &str = "LABEL_";

impl Stage for Merge {
    const KIND: &'static str = "merge";
    // 2: the folder says how texts were cleaned and how the model was made; labels and tokenizer of the adapter;
    // `model_max_length`; the origin of the base's config is not copied.
    const VERSION: u32 = 2;
    const MAIN: Option<&'static str> = Some("adapter");
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[Port::one("model", MODEL)];

    fn check(&self) -> Vec<Invalid> {
        let is_on_hub = self.adapter.starts_with(base::HUB.prefix);
        let invalid = || {
            Invalid::new("adapter", format!("adapter is {}; it must be a folder", self.adapter))
                .help("download it first: pipe downloads only whole models from the Hub")
        };
        is_on_hub.then(invalid).into_iter().collect()
    }

    fn externals(&self) -> Vec<External> {
        vec![base::external("adapter", &self.adapter), base::external("base", &self.base)]
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let base = cx.external("base")?.to_owned();
        let adapter = cx.external("adapter")?.to_owned();
        let merged = merge(&base, &adapter, self.labels.as_deref())?;
        merged.notes.into_iter().for_each(|note| cx.note(note));
        merged.warnings.into_iter().for_each(|warning| cx.warn(warning));
        let config = merged.model.config();
        if self.labels.is_none() && config.labels().iter().all(|label| label.starts_with(UNNAMED)) {
            cx.warn(format!(
                "neither the adapter nor the base names the labels, so they are {}; set `labels`",
                config.labels().join(", ")
            ));
        }
        let out = cx.output("model")?;
        merged.model.save(&out, config.labels())?;
        let from = if tokenizer::is_in(&adapter) { &adapter } else { &base };
        let remarks = tokenizer::save(from, &out, Limit::Positions(config.max_length()))?;
        remarks.into_iter().for_each(|remark| cx.warn(remark));
        // The adapter was trained last.
        for from in [&base, &adapter] {
            copy(from, &out, &[Cleaning::FILE])?;
        }
        Lineage::of_base(&self.base, &base).then(Step::of(self)?).write(&out)
    }
}
