//! Writes adapters in the layout of PEFT, and puts the adapter of a folder onto its base.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::files::host::HostTensors;
use crate::files::pointer;
use crate::files::weights::Pair;
use crate::files::weights::write::encode_f32;
use crate::model::adapter::{HEAD, LoraConfig, Targets};
use crate::model::head::HeadKind;
use crate::model::modules::is_end;
use crate::model::names::PEFT;
use crate::model::peft::{CONFIG, WEIGHTS, read_config};
use crate::model::{Model, peft, walk};

/// Writes the adapter and the head in PEFT's layout, and the `config.json` of the adapted model: PEFT's own files
/// do not say how many outputs there are and what they mean.
///
/// `base` identifies the adapter's base model: a folder, or `hf:OWNER/NAME@REVISION`, which becomes PEFT's
/// `base_model_name_or_path` and `revision`.
pub fn save_adapter(model: &Model, config: &LoraConfig, base: &str, dir: &Path) -> Result<()> {
    let mut tensors = HostTensors::new();
    for (name, tensor) in model.to_host()? {
        if name.contains(".lora_") || config.is_saved(&name) {
            tensors.insert(format!("{PEFT}{name}"), tensor);
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
    pair.write(&text, |file| encode_f32(file, &tensors))?;
    let path = dir.join("config.json");
    std::fs::write(&path, serde_json::to_string_pretty(&model.config().to_json())?)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The labels that the `config.json` of an adapter folder names for `outputs` outputs.
pub(super) fn labels(dir: &Path, outputs: usize) -> Result<Option<Vec<String>>> {
    let path = dir.join("config.json");
    if !path.is_file() {
        return Ok(None);
    }
    let value: Value = serde_json::from_slice(&pointer::read(&path)?)
        .with_context(|| format!("{} is not valid JSON", path.display()))?;
    // Other programs may put the base's config there, with other labels or none.
    let Some(names) = value["id2label"].as_object().filter(|names| names.len() == outputs) else { return Ok(None) };
    let name = |id: usize| names.get(&id.to_string())?.as_str().map(str::to_owned);
    Ok((0..outputs).map(name).collect())
}

/// The kind of the head that is stored with an adapter and its number of outputs, or `None` if there is no head.
pub(super) fn head(dir: &Path) -> Result<Option<(HeadKind, usize)>> {
    let weights = peft::open(dir)?;
    let last = |name: &str| weights.tensors.get(&format!("{PEFT}{name}"))?.shape.first().copied();
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
    let tensors: HostTensors = peft::open(dir)?
        .read()?
        .into_iter()
        .map(|(name, tensor)| (name.strip_prefix(PEFT).map_or(name.clone(), str::to_owned), tensor))
        .collect();
    let mut wanted = model.parameters().into_iter().map(|p| p.name).filter(|name| name.contains(".lora_"));
    if let Some(missing) = wanted.find(|name| !tensors.contains_key(name)) {
        bail!("the adapter in {} lacks {PEFT}{missing}", dir.display());
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
