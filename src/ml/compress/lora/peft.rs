//! Reads and writes adapters in the layout of PEFT.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use super::adapter::HEAD;
use super::{LoraConfig, Targets};
use crate::files::host::HostTensors;
use crate::files::weights;
use crate::files::weights::Pair;
use crate::files::weights::write::encode_f32;
use crate::model::head::HeadKind;
use crate::model::modules::is_end;
use crate::model::{Model, walk};

pub(crate) const CONFIG: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";
/// The prefix that PEFT puts before every name of the model it wraps.
pub(crate) const PREFIX: &str = "base_model.model.";

/// Writes the adapter and the head in PEFT's layout.
///
/// `base` identifies the adapter's base model: a folder, or `hf:OWNER/NAME@REVISION`, which becomes PEFT's
/// `base_model_name_or_path` and `revision`.
pub fn save_adapter(model: &Model, config: &LoraConfig, base: &str, dir: &Path) -> Result<()> {
    let mut tensors = HostTensors::new();
    for (name, tensor) in model.to_host()? {
        if name.contains(".lora_") || config.is_saved(&name) {
            tensors.insert(format!("{PREFIX}{name}"), tensor);
        }
    }
    ensure!(tensors.keys().any(|name| name.contains(".lora_")), "the model has no adapter to save");
    let (name, revision) = match base.strip_prefix("hf:") {
        Some(name) => name.split_once('@').map_or((name, None), |(name, revision)| (name, Some(revision))),
        None => (base, None),
    };
    let json = json!({
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": name,
        "revision": revision,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": config.targets.to_json(),
        "modules_to_save": std::iter::once(HEAD).chain(config.modules_to_save.iter().map(String::as_str)).collect::<Vec<_>>(),
        "use_rslora": config.rslora,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
    });
    let text = serde_json::to_string_pretty(&json).context("encoding adapter_config.json")?;
    let pair = Pair { config: dir.join(CONFIG), weights: dir.join(WEIGHTS) };
    pair.write(&text, |file| encode_f32(file, &tensors))
}

/// The kind of the head that is stored with an adapter and its number of outputs, or `None` if there is no head.
pub(super) fn head(dir: &Path) -> Result<Option<(HeadKind, usize)>> {
    let file = dir.join(WEIGHTS);
    ensure!(file.is_file(), "adapter folder {} has no {WEIGHTS}", dir.display());
    let weights = weights::Weights::at(&file)?;
    let last = |name: &str| weights.tensors.get(&format!("{PREFIX}{name}"))?.shape.first().copied();
    let standard = || last("classifier.weight").or_else(|| last("classifier.out_proj.weight"));
    Ok(match last("classifier.layers.2.weight") {
        Some(outputs) => Some((HeadKind::Mlp, outputs)),
        None => standard().map(|outputs| (HeadKind::Standard, outputs)),
    })
}

/// Put the adapter of a PEFT folder onto its base model.
pub fn load_adapter(mut model: Model, dir: &Path) -> Result<(Model, LoraConfig)> {
    let config = without_saved(read_config(&dir.join(CONFIG))?, &mut model);
    let at = || format!("loading the adapter in {}", dir.display());
    let model = model.add_lora(&config, 0).with_context(at)?;
    let file = dir.join(WEIGHTS);
    ensure!(file.is_file(), "adapter folder {} has no {WEIGHTS}", dir.display());
    let tensors = weights::read(&[file])?;
    let tensors: HostTensors = tensors
        .into_iter()
        .map(|(name, tensor)| (name.strip_prefix(PREFIX).map_or(name.clone(), str::to_owned), tensor))
        .collect();
    let mut wanted = model.parameters().into_iter().map(|p| p.name).filter(|name| name.contains(".lora_"));
    if let Some(missing) = wanted.find(|name| !tensors.contains_key(name)) {
        bail!("the adapter in {} lacks {PREFIX}{missing}", dir.display());
    }
    let (model, unknown) = walk::fill(model, tensors).with_context(at)?;
    ensure!(
        unknown.is_empty(),
        "the adapter in {} has tensors that do not belong to the base model: {}",
        dir.display(),
        unknown.join(", ")
    );
    Ok((model, config))
}

/// Remove targets that name modules which are trained in full. PEFT writes such targets when it spells out
/// `all-linear`, and puts no adapter there either.
fn without_saved(mut config: LoraConfig, model: &mut Model) -> LoraConfig {
    let (mut saved, mut others) = (Vec::new(), Vec::new());
    model.map_linears(&mut |name, _| {
        if config.is_saved(name) { saved.push(name.to_owned()) } else { others.push(name.to_owned()) }
    });
    if let Targets::Names(names) = &mut config.targets {
        let among = |target: &String, modules: &[String]| modules.iter().any(|module| is_end(target, module));
        names.retain(|target| among(target, &others) || !among(target, &saved));
    }
    config
}

/// Read and check an `adapter_config.json`.
pub(crate) fn read_config(path: &Path) -> Result<LoraConfig> {
    ensure!(path.is_file(), "{} does not exist, but an adapter folder needs it", path.display());
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let value: Value = serde_json::from_str(&text).with_context(|| format!("{} is not valid JSON", path.display()))?;
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
    use super::*;

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
