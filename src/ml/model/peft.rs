//! The folder of an adapter as PEFT writes it: names of files, and what its config says.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use super::adapter::{HEAD, LoraConfig, Targets};
use super::config::ADAPTER;
use super::names::{PEFT, unwrapped};
use crate::files::pointer;
use crate::files::weights::Weights;

pub(crate) const CONFIG: &str = ADAPTER;
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";
/// PEFT's format before safetensors. `pipe` reads it if a folder has no safetensors, and never writes it.
pub(crate) const PICKLE: &str = "adapter_model.bin";

/// The weight file of an adapter folder.
pub(crate) fn weights(dir: &Path) -> Result<PathBuf> {
    let found = [WEIGHTS, PICKLE].into_iter().map(|name| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("adapter folder {} has neither {WEIGHTS} nor {PICKLE}", dir.display()))
}

/// The tensors of an adapter folder, by the names that PEFT writes today.
pub(crate) fn open(dir: &Path) -> Result<Weights> {
    let path = weights(dir)?;
    let mut opened = Weights::default();
    for (name, stored) in Weights::at(&path)?.tensors {
        let current = format!("{PEFT}{}", parameter(&name));
        if opened.tensors.insert(current.clone(), stored).is_some() {
            bail!("{} has the tensor {current} under two names, one of them {name}", path.display());
        }
    }
    Ok(opened)
}

/// The parameter of an adapted model that a tensor is, without the names of wrappers and of the adapter.
fn parameter(name: &str) -> String {
    let name = unwrapped(name);
    for factor in [".lora_A.", ".lora_B."] {
        // In a state dict, the adapter's name comes before `weight`.
        if let Some((module, rest)) = name.split_once(factor)
            && let Some((_, weight)) = rest.rsplit_once('.')
        {
            return format!("{module}{factor}{weight}");
        }
    }
    name
}

/// Read and check an `adapter_config.json`.
pub(crate) fn read_config(path: &Path) -> Result<LoraConfig> {
    ensure!(path.is_file(), "{} does not exist, but an adapter folder needs it", path.display());
    let value: Value = serde_json::from_slice(&pointer::read(path)?)
        .with_context(|| format!("{} is not valid JSON", path.display()))?;
    parse_config(&value).with_context(|| format!("in {}", path.display()))
}

/// Fields of `adapter_config.json` that do not change the logits, or that are read below.
const KNOWN: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "inference_mode",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// How the factors were initialised. This no longer matters once they are saved, unless the base's weights changed as
/// well.
const INIT: &str = "init_lora_weights";

/// PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA subtract the initial factors from the base, and PEFT does so again whenever
/// it loads such an adapter. PEFT can save an adapter that needs no such base
/// (`path_initial_model_for_weight_conversion`).
fn is_plain_start(value: &Value) -> bool {
    let plain = ["gaussian", "orthogonal", "eva", "mica"];
    *value == true || value.as_str().is_some_and(|start| plain.contains(&start))
}

fn parse_config(value: &Value) -> Result<LoraConfig> {
    let fields = value.as_object().context("not a JSON object")?;
    ensure!(value["peft_type"] == "LORA", "field `peft_type` is {}; only \"LORA\" is supported", value["peft_type"]);
    // Refuse everything else that PEFT could compute, now or later, instead of ignoring it.
    for (field, given) in fields.iter().filter(|(field, _)| !KNOWN.contains(&field.as_str())) {
        let off = match given {
            Value::Null | Value::Bool(false) => true,
            _ if field == INIT => is_plain_start(given),
            Value::String(text) => field == "bias" && text == "none" || field == "megatron_core",
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(true) | Value::Number(_) => false,
        };
        ensure!(off, "field `{field}` is {given}, which is not supported");
    }
    let number = |field: &str, default: f64| match &value[field] {
        Value::Null => Ok(default),
        given => given.as_f64().ok_or_else(|| anyhow!("field `{field}` is {given}; it must be a number")),
    };
    let targets = match &value["target_modules"] {
        Value::String(pattern) => Targets::pattern(pattern)?,
        Value::Array(list) => {
            let mut names: Vec<String> = list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            // PEFT writes a set, in any order.
            names.sort();
            Targets::Names(names)
        }
        given => bail!("field `target_modules` is {given}; it must be a list of names or a pattern"),
    };
    let saved = value["modules_to_save"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let config = LoraConfig {
        modules_to_save: saved.filter(|module| *module != HEAD && *module != "score").map(str::to_owned).collect(),
        rank: number("r", 8.0)? as usize,
        alpha: number("lora_alpha", 8.0)?,
        dropout: number("lora_dropout", 0.0)?,
        targets,
        rslora: value["use_rslora"].as_bool().unwrap_or(false),
    };
    config.check()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tensors_have_one_name_however_they_were_saved() {
        let query = "roberta.encoder.layer.0.attention.self.query.lora_A.weight";
        for name in [
            "base_model.model.roberta.encoder.layer.0.attention.self.query.lora_A.weight",
            "base_model.model.roberta.encoder.layer.0.attention.self.query.lora_A.default.weight",
            "module.base_model.model.roberta.encoder._orig_mod.layer.0.attention.self.query.lora_A.weight",
        ] {
            assert_eq!(parameter(name), query);
        }
        let head = "base_model.model.classifier.modules_to_save.default.dense.bias";
        assert_eq!(parameter(head), "classifier.dense.bias");
    }

    #[test]
    fn what_peft_could_compute_otherwise_is_refused_by_name() {
        let mut value = json!({"peft_type": "LORA", "r": 4, "target_modules": ["query"], "use_dora": true});
        let text = |value: &Value| parse_config(value).map(|_| ()).expect_err("refused").to_string();
        assert_eq!(text(&value), "field `use_dora` is true, which is not supported");
        value["use_dora"] = json!(false);
        value["something_new"] = json!({"rank": 3});
        assert_eq!(text(&value), r#"field `something_new` is {"rank":3}, which is not supported"#);
        value["something_new"] = Value::Null;
        value["bias"] = json!("all");
        assert_eq!(text(&value), r#"field `bias` is "all", which is not supported"#);
        value["bias"] = json!("none");
        value[INIT] = json!("pissa_niter_16");
        assert_eq!(text(&value), r#"field `init_lora_weights` is "pissa_niter_16", which is not supported"#);
        value[INIT] = json!("gaussian");
        value["target_modules"] = Value::Null;
        assert_eq!(text(&value), "field `target_modules` is null; it must be a list of names or a pattern");
        value["target_modules"] = json!("(query");
        assert!(text(&value).starts_with("lora: cannot use the target pattern `(query` ("));
    }
}
