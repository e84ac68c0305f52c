//! Low-rank adapters on a frozen model, computed and stored as PEFT does.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use serde_json::{Value, json};

use super::model::host::HostTensors;
use super::model::linear::{Linear, Lora};
use super::model::{Model, init, walk, weights};

pub(crate) const CONFIG: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before every name of the model it wraps.
pub(crate) const PREFIX: &str = "base_model.model.";
/// The module that is trained in full and stored with the adapter (`modules_to_save` of PEFT's
/// sequence classification); no adapter goes into it.
const HEAD: &str = "classifier";

/// An adapter of the rank of its matrix saves nothing, and few matrices are larger.
const HIGHEST_RANK: usize = 4096;

/// Where adapters go and how strong they are.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Columns of `A` and rows of `B`.
    pub rank: usize,
    /// The product is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Probability of zeroing an input of the adapter in training.
    pub dropout: f64,
    /// Module names, whole or the last parts: `query`, `value`, `output.dense`.
    pub targets: Vec<String>,
    /// Scale by `alpha / √rank` instead (Kalajdzievski 2023).
    pub rslora: bool,
    /// Modules beside the head that are trained in full and stored with the adapter, by a part of their name.
    pub modules_to_save: Vec<String>,
}

impl LoraConfig {
    /// What the product `B·A` is multiplied by.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    fn check(&self) -> Result<()> {
        ensure!(self.rank >= 1, "lora: rank is 0; it must be at least 1");
        ensure!(self.rank <= HIGHEST_RANK, "lora: rank is {}; more than {HIGHEST_RANK} is not supported", self.rank);
        ensure!(self.alpha.is_finite() && self.alpha > 0.0, "lora: alpha is {}; it must be above 0", self.alpha);
        ensure!(
            (0.0..1.0).contains(&self.dropout),
            "lora: dropout is {}; it must be at least 0 and below 1",
            self.dropout
        );
        ensure!(!self.targets.is_empty(), "lora: no targets; name modules such as `query` and `value`");
        Ok(())
    }

    /// A target names a module by its whole name or by what follows a dot.
    fn targets(&self, module: &str) -> Option<&String> {
        self.targets.iter().find(|target| {
            module == target.as_str() || module.strip_suffix(target.as_str()).is_some_and(|rest| rest.ends_with('.'))
        })
    }

    /// Whether a module or parameter is trained in full.
    fn is_saved(&self, name: &str) -> bool {
        name.split('.').any(|part| part == HEAD || self.modules_to_save.iter().any(|module| module == part))
    }
}

impl Model {
    /// Puts an adapter beside every target and freezes all but the adapters and the head.
    ///
    /// `A` starts as PEFT draws it (uniform within `1/√in`), from `seed`; `B` starts at zero, so the
    /// logits do not change yet.
    pub fn add_lora(mut self, config: &LoraConfig, seed: u64) -> Result<Self> {
        config.check()?;
        ensure!(
            !self.parameters().iter().any(|p| p.name.contains(".lora_")),
            "the model already has an adapter; merge it first"
        );
        let mut modules = Vec::new();
        let mut matched = Vec::new();
        self.map_linears(&mut |name, linear| {
            if config.is_saved(name) {
                return;
            }
            modules.push(name.to_owned());
            if let Some(target) = config.targets(name) {
                matched.push(target.clone());
                linear.lora = Some(fresh(name, linear, config, seed));
            }
        });
        let unmatched: Vec<&str> =
            config.targets.iter().filter(|target| !matched.contains(target)).map(String::as_str).collect();
        ensure!(
            unmatched.is_empty(),
            "lora: target {} matches no linear module outside the head; there are {}",
            unmatched.iter().map(|target| format!("`{target}`")).collect::<Vec<_>>().join(", "),
            kinds(&modules)
        );
        let parameters = self.parameters();
        let has = |module: &String| parameters.iter().any(|p| p.name.split('.').any(|part| part == module));
        if let Some(missing) = config.modules_to_save.iter().find(|module| !has(module)) {
            bail!("lora: module `{missing}` of modules-to-save is not in the model");
        }
        Ok(self.set_trainable(|name| name.contains(".lora_") || config.is_saved(name)))
    }

    /// Adds every adapter into its weight: the same logits at the cost of the plain model. All
    /// parameters are trainable again.
    pub fn merge_lora(mut self) -> Self {
        self.map_linears(&mut |_, linear| *linear = linear.clone().merge());
        self.set_trainable(|_| true)
    }
}

fn fresh(name: &str, linear: &Linear, config: &LoraConfig, seed: u64) -> Lora {
    let [inputs, outputs] = linear.weight.lazy_shape().dims();
    let device = linear.weight.lazy_device();
    let rank = config.rank;
    // Drawn in the layout of the file, [r, in].
    let a = init::uniform(&format!("{name}.lora_A.weight"), rank * inputs, (inputs as f64).powf(-0.5), seed);
    let a = Tensor::<2>::from_data(TensorData::new(a, [rank, inputs]), &device).transpose();
    Lora {
        a: Param::from_tensor(a),
        b: Param::from_tensor(Tensor::zeros([rank, outputs], &device)),
        scale: config.scale(),
        dropout: config.dropout,
    }
}

/// Module names with the layer's number left out, each once.
fn kinds(modules: &[String]) -> String {
    let mut kinds: Vec<String> = Vec::new();
    for module in modules {
        let parts = module.split('.').map(|part| if part.parse::<usize>().is_ok() { "N" } else { part });
        let kind = parts.collect::<Vec<_>>().join(".");
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.join(", ")
}

/// Writes the adapter and the head in PEFT's layout.
///
/// `base` is what the adapter belongs to, as PEFT's `base_model_name_or_path`: a folder or a name on
/// the hub.
pub fn save_adapter(model: &Model, config: &LoraConfig, base: &str, dir: &Path) -> Result<()> {
    let mut tensors = HostTensors::new();
    for (name, tensor) in model.to_host()? {
        if name.contains(".lora_") || config.is_saved(&name) {
            tensors.insert(format!("{PREFIX}{name}"), tensor);
        }
    }
    ensure!(tensors.keys().any(|name| name.contains(".lora_")), "the model has no adapter to save");
    weights::write_f32(&dir.join(WEIGHTS), &tensors)?;
    let json = json!({
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": config.targets,
        "modules_to_save": std::iter::once(HEAD).chain(config.modules_to_save.iter().map(String::as_str)).collect::<Vec<_>>(),
        "use_rslora": config.rslora,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
    });
    let text = serde_json::to_string_pretty(&json).context("encoding adapter_config.json")?;
    weights::write_whole(&dir.join(CONFIG), text.as_bytes())
}

/// Puts the adapter of a PEFT folder onto its base model.
pub fn load_adapter(model: Model, dir: &Path) -> Result<(Model, LoraConfig)> {
    let config = read_config(&dir.join(CONFIG))?;
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
        "the adapter in {} has tensors that the base model has no place for: {}",
        dir.display(),
        unknown.join(", ")
    );
    Ok((model, config))
}

/// Reads and checks an `adapter_config.json`.
pub fn read_config(path: &Path) -> Result<LoraConfig> {
    ensure!(path.is_file(), "{} is not there; an adapter folder needs it", path.display());
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let value: Value = serde_json::from_str(&text).with_context(|| format!("{} is not valid JSON", path.display()))?;
    parse_config(&value).with_context(|| format!("in {}", path.display()))
}

fn parse_config(value: &Value) -> Result<LoraConfig> {
    // What PEFT could compute otherwise, and here is not: refused rather than ignored.
    for (field, supported) in [
        ("peft_type", json!("LORA")),
        ("bias", json!("none")),
        ("fan_in_fan_out", json!(false)),
        ("use_dora", json!(false)),
        ("lora_bias", json!(false)),
        ("rank_pattern", json!({})),
        ("alpha_pattern", json!({})),
        ("layers_to_transform", Value::Null),
        ("exclude_modules", Value::Null),
        ("target_parameters", Value::Null),
        ("layer_replication", Value::Null),
        ("trainable_token_indices", Value::Null),
    ] {
        let given = &value[field];
        ensure!(given.is_null() || *given == supported, "field `{field}` is {given}; only {supported} is supported");
    }
    let number = |field: &str, default: f64| match &value[field] {
        Value::Null => Ok(default),
        given => given.as_f64().ok_or_else(|| anyhow!("field `{field}` is {given}; it must be a number")),
    };
    let targets = value["target_modules"].as_array().map(|list| {
        let mut names: Vec<String> = list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        // PEFT writes a set in any order.
        names.sort();
        names
    });
    let targets = targets
        .ok_or_else(|| anyhow!("field `target_modules` is {}; a list of names is needed", value["target_modules"]))?;
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
    use crate::ml::dropout::Noise;
    use crate::ml::model::fixture::Fixture;
    use burn::tensor::Device;

    fn config(targets: &[&str]) -> LoraConfig {
        LoraConfig {
            rank: 4,
            alpha: 8.0,
            dropout: 0.0,
            targets: targets.iter().map(|t| t.to_string()).collect(),
            rslora: false,
            modules_to_save: Vec::new(),
        }
    }

    fn base(fixture: &Fixture, device: &Device) -> Model {
        Model::load(&fixture.dir.join("base"), None, 0, device).expect("loads").model
    }

    fn check_parity(name: &str) {
        let Some(fixture) = Fixture::open(name) else { return };
        let device = Device::flex().autodiff();
        let (model, config) = load_adapter(base(&fixture, &device), &fixture.dir.join("adapter")).expect("loads");
        assert_eq!((config.rank, config.alpha), (4, 8.0));
        let trainable = fixture.expected["trainable_parameters"].as_u64().expect("a count");
        assert_eq!(model.count_trainable() as u64, trainable);

        let (ids, mask) = fixture.batch(&device);
        let logits = model.forward(ids.clone(), mask.clone(), &mut Noise::Off);
        let difference = fixture.difference("logits", logits);
        let merged = model.merge_lora().forward(ids, mask, &mut Noise::Off);
        let merged_difference = fixture.difference("merged_logits", merged);
        println!("{name}: logits differ by {difference:.1e}, merged by {merged_difference:.1e}");
        assert!(difference < 1e-4 && merged_difference < 1e-4, "{difference} {merged_difference}");
    }

    #[test]
    fn adapters_on_queries_and_values_compute_what_peft_computes() {
        check_parity("lora-roberta");
    }

    #[test]
    fn adapters_on_every_linear_module_compute_what_peft_computes() {
        check_parity("lora-roberta-dense");
    }

    #[test]
    fn a_saved_adapter_has_pefts_names_and_loads_equal() {
        let Some(fixture) = Fixture::open("lora-roberta") else { return };
        let device = Device::flex();
        let theirs = fixture.dir.join("adapter");
        let (model, config) = load_adapter(base(&fixture, &device), &theirs).expect("loads");
        let dir = tempfile::tempdir().expect("a temporary folder");
        save_adapter(&model, &config, "the/base", dir.path()).expect("saved");
        let read = |dir: &Path| weights::read(&[dir.join(WEIGHTS)]).expect("read");
        assert!(read(dir.path()) == read(&theirs));
        let (again, config_again) = load_adapter(base(&fixture, &device), dir.path()).expect("loads");
        assert_eq!(config_again, config);
        assert!(again.to_host().expect("host") == model.to_host().expect("host"));
    }

    #[test]
    fn a_new_adapter_changes_nothing_and_only_it_and_the_head_get_gradients() {
        let Some(fixture) = Fixture::open("lora-roberta") else { return };
        let device = Device::flex().autodiff();
        let model = base(&fixture, &device);
        let (ids, mask) = fixture.batch(&device);
        let before = model.forward(ids.clone(), mask.clone(), &mut Noise::Off).into_data();
        let model = model.add_lora(&config(&["query", "output.dense"]), 3).expect("added");
        let logits = model.forward(ids, mask, &mut Noise::Off);
        assert_eq!(logits.to_data(), before);
        let norms = model.gradient_norms(&logits.powi_scalar(2).sum().backward()).expect("norms");
        assert!(norms.keys().all(|name| name.contains(".lora_") || name.starts_with("classifier.")), "{norms:?}");
        // Per layer query, attention output and output, two factors each, and four of the head.
        assert_eq!(norms.len(), 3 * 3 * 2 + 4);
        assert!(norms.iter().all(|(name, norm)| !name.contains("lora_B") || *norm > 0.0));
    }

    #[test]
    fn modules_to_save_are_trained_in_full_and_stored_with_the_adapter() {
        let Some(fixture) = Fixture::open("lora-roberta") else { return };
        let device = Device::flex();
        let config = LoraConfig { modules_to_save: vec!["word_embeddings".into()], ..config(&["query"]) };
        let model = base(&fixture, &device).add_lora(&config, 3).expect("added");
        let full: Vec<String> = model.parameters().into_iter().filter(|p| p.trainable).map(|p| p.name).collect();
        assert!(full.contains(&"roberta.embeddings.word_embeddings.weight".to_owned()), "{full:?}");
        let dir = tempfile::tempdir().expect("a temporary folder");
        save_adapter(&model, &config, "the/base", dir.path()).expect("saved");
        let (again, read) = load_adapter(base(&fixture, &device), dir.path()).expect("loads");
        assert_eq!(read, config);
        assert!(again.to_host().expect("host") == model.to_host().expect("host"));
        let wrong = LoraConfig { modules_to_save: vec!["embedings".into()], ..config };
        let error = base(&fixture, &device).add_lora(&wrong, 3).expect_err("no such module");
        assert_eq!(error.to_string(), "lora: module `embedings` of modules-to-save is not in the model");
    }

    #[test]
    fn dropout_of_an_adapter_acts_in_training_alone() {
        let Some(fixture) = Fixture::open("lora-roberta") else { return };
        let device = Device::flex();
        let (mut model, _) = load_adapter(base(&fixture, &device), &fixture.dir.join("adapter")).expect("loads");
        model.map_linears(&mut |_, linear| linear.lora.iter_mut().for_each(|lora| lora.dropout = 0.5));
        let (ids, mask) = fixture.batch(&device);
        let still = model.forward(ids.clone(), mask.clone(), &mut Noise::Off);
        assert!(fixture.difference("logits", still) < 1e-4);
        let noisy = model.forward(ids, mask, &mut Noise::step(1, 1));
        assert!(fixture.difference("logits", noisy) > 1e-3);
    }

    #[test]
    fn a_target_that_matches_nothing_lists_the_modules() {
        let Some(fixture) = Fixture::open("lora-roberta") else { return };
        let model = base(&fixture, &Device::flex());
        let error = model.add_lora(&config(&["query", "query_proj", "ery"]), 0).map(|_| ()).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "lora: target `query_proj`, `ery` matches no linear module outside the head; there are \
             roberta.encoder.layer.N.attention.self.query, roberta.encoder.layer.N.attention.self.key, \
             roberta.encoder.layer.N.attention.self.value, roberta.encoder.layer.N.attention.output.dense, \
             roberta.encoder.layer.N.intermediate.dense, roberta.encoder.layer.N.output.dense"
        );
    }

    #[test]
    fn what_peft_could_compute_otherwise_is_refused_by_name() {
        let mut value = json!({"peft_type": "LORA", "r": 4, "target_modules": ["query"], "use_dora": true});
        let text = |value: &Value| parse_config(value).map(|_| ()).expect_err("refused").to_string();
        assert_eq!(text(&value), "field `use_dora` is true; only false is supported");
        value["use_dora"] = json!(false);
        value["target_modules"] = json!("all-linear");
        assert_eq!(text(&value), "field `target_modules` is \"all-linear\"; a list of names is needed");
    }

    #[test]
    fn a_model_with_an_adapter_is_not_saved_as_a_model() {
        let Some(fixture) = Fixture::open("lora-roberta") else { return };
        let model = base(&fixture, &Device::flex()).add_lora(&config(&["query"]), 0).expect("added");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let error = model.save(dir.path(), model.config().labels()).expect_err("refused").to_string();
        assert!(error.contains("merge it before saving"), "{error}");
    }
}
