//! Low-rank adapters on a frozen model, computed and stored as PEFT does.

use anyhow::{Result, anyhow, bail, ensure};
use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use regex::Regex;
use serde_json::{Value, json};

use crate::model::linear::{Linear, Lora};
use crate::model::modules::{is_end, kinds};
use crate::model::{Config, Family, Model, init};

/// The module that is trained in full and stored with the adapter (`modules_to_save` of PEFT's
/// sequence classification); it never gets an adapter.
pub(super) const HEAD: &str = "classifier";

/// The largest accepted rank: an adapter of the same rank as its matrix saves nothing, and few matrices are larger.
const HIGHEST_RANK: usize = 4096;

/// Which modules get adapters, and the adapters' rank and scale.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Columns of `A` and rows of `B`.
    pub rank: usize,
    /// The product is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Probability with which dropout zeroes an input of the adapter in training.
    pub dropout: f64,
    pub targets: Targets,
    /// Scale by `alpha / √rank` instead (Kalajdzievski 2023).
    pub rslora: bool,
    /// Modules besides the head that are trained in full and stored with the adapter, each by a part of its name.
    pub modules_to_save: Vec<String>,
}

/// Which linear modules get an adapter. The head never gets one; it is trained in full.
#[derive(Debug, Clone)]
pub enum Targets {
    /// By name, either whole or the last parts: `query`, `value`, `output.dense`.
    Names(Vec<String>),
    /// All (`"all-linear"` of PEFT).
    All,
    /// Modules whose whole name matches a regular expression.
    Pattern(Regex),
}

impl Targets {
    /// The modules with these names; the single name `all-linear` means all modules.
    pub fn of(names: &[String]) -> Self {
        if names == ["all-linear"] { Targets::All } else { Targets::Names(names.to_vec()) }
    }

    /// PEFT's default: the query and value projections.
    pub fn usual(config: &Config) -> Self {
        let names = match config.family {
            Family::Deberta(_) => ["query_proj", "value_proj"],
            Family::DistilBert(_) => ["q_lin", "v_lin"],
            Family::Roberta(_) | Family::Bert(_) => ["query", "value"],
        };
        Targets::Names(names.map(str::to_owned).to_vec())
    }

    /// Read a string given instead of a list, as PEFT does.
    pub(super) fn pattern(text: &str) -> Result<Self> {
        if text == "all-linear" {
            return Ok(Targets::All);
        }
        let regex = Regex::new(&format!("^(?:{text})$"));
        regex.map(Targets::Pattern).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default();
            anyhow!("lora: cannot use the target pattern `{text}` ({reason}); list the names of the modules instead")
        })
    }

    /// The value of `target_modules` in PEFT's adapter config.
    pub fn to_json(&self) -> Value {
        match self {
            Targets::Names(names) => json!(names),
            Targets::All => json!("all-linear"),
            Targets::Pattern(regex) => {
                let text = regex.as_str();
                json!(text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$")).unwrap_or(text))
            }
        }
    }

    fn matches(&self, module: &str) -> bool {
        match self {
            Targets::Names(names) => names.iter().any(|name| is_end(name, module)),
            Targets::All => true,
            Targets::Pattern(regex) => regex.is_match(module),
        }
    }
}

impl PartialEq for Targets {
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}

impl LoraConfig {
    /// The factor of the product `B·A`.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.rank >= 1, "lora: rank is 0; it must be at least 1");
        ensure!(self.rank <= HIGHEST_RANK, "lora: rank is {}; more than {HIGHEST_RANK} is not supported", self.rank);
        ensure!(self.alpha.is_finite() && self.alpha > 0.0, "lora: alpha is {}; it must be above 0", self.alpha);
        ensure!(
            (0.0..1.0).contains(&self.dropout),
            "lora: dropout is {}; it must be at least 0 and below 1",
            self.dropout
        );
        let none = matches!(&self.targets, Targets::Names(names) if names.is_empty());
        ensure!(!none, "lora: no targets; name modules such as `query` and `value`");
        Ok(())
    }

    /// Add the modules of freshly initialised parameters to the modules that are trained in full, and return their
    /// names. If they were frozen, they would keep random values that no other copy of the base has. This usually
    /// concerns a base without a pooler.
    pub fn save_fresh(&mut self, parameters: &[String]) -> Vec<String> {
        let mut added = Vec::new();
        for name in parameters {
            let module = name.rsplit_once('.').map_or(name.as_str(), |(module, _)| module);
            let module = if module.split('.').any(|part| part == "pooler") { "pooler" } else { module };
            if !self.is_saved(name) {
                self.modules_to_save.push(module.to_owned());
                added.push(module.to_owned());
            }
        }
        added
    }

    /// Whether a module or parameter is trained in full. As in PEFT, a module is if its name ends with a listed name,
    /// so `classifier` covers DistilBERT's `pre_classifier` too.
    pub(super) fn is_saved(&self, name: &str) -> bool {
        let ends = name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
        let saved = || std::iter::once(HEAD).chain(self.modules_to_save.iter().map(String::as_str));
        ends.into_iter().any(|end| saved().any(|module| name[..end].ends_with(module)))
    }
}

impl Model {
    /// Add an adapter to every target and freeze everything except the adapters and the head.
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
        let mut matched = 0;
        self.map_linears(&mut |name, linear| {
            if config.is_saved(name) {
                return;
            }
            modules.push(name.to_owned());
            if config.targets.matches(name) {
                matched += 1;
                linear.lora = Some(fresh(name, linear, config, seed));
            }
        });
        let listed = || kinds(modules.iter().map(String::as_str), "N");
        let idle = |target: &&String| !modules.iter().any(|module| is_end(target, module));
        let unmatched: Vec<&String> = match &config.targets {
            Targets::Names(names) => names.iter().filter(idle).collect(),
            Targets::Pattern(_) | Targets::All => Vec::new(),
        };
        ensure!(
            unmatched.is_empty(),
            "lora: target {} matches no linear module outside the head; there are {}",
            unmatched.iter().map(|target| format!("`{target}`")).collect::<Vec<_>>().join(", "),
            listed()
        );
        ensure!(
            matched > 0,
            "lora: the target pattern {} matches no linear module outside the head; there are {}",
            config.targets.to_json(),
            listed()
        );
        let parameters = self.parameters();
        let has = |module: &String| parameters.iter().any(|p| p.name.contains(&format!("{module}.")));
        if let Some(missing) = config.modules_to_save.iter().find(|module| !has(module)) {
            bail!("lora: modules-to-save names `{missing}`, but the model has no such module");
        }
        Ok(self.set_trainable(|name| name.contains(".lora_") || config.is_saved(name)))
    }

    /// Add every adapter to its weight: the same logits at the cost of the plain model. All
    /// parameters are trainable again.
    pub fn merge_lora(mut self) -> Self {
        self.map_linears(&mut |_, linear| *linear = linear.clone().merge(1.0));
        self.set_trainable(|_| true)
    }

    /// Subtract every adapter from its weight. This gives the base back, apart from rounding. The head keeps its
    /// trained weights.
    pub fn unmerge_lora(mut self) -> Self {
        self.map_linears(&mut |_, linear| *linear = linear.clone().merge(-1.0));
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

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
