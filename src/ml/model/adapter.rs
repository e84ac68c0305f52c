//! What a low-rank adapter is: the modules that it changes, its rank and its scale, as PEFT describes them.

use anyhow::{Result, anyhow, ensure};
use regex::Regex;
use serde_json::{Value, json};

use super::config::Config;
use super::modules::is_end;

/// The module that is trained in full and stored with the adapter (`modules_to_save` of PEFT's
/// sequence classification); it never gets an adapter.
pub(crate) const HEAD: &str = "classifier";

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
        Targets::Names(config.family.names().adapted.iter().map(|name| (*name).to_owned()).collect())
    }

    /// Read a string given instead of a list, as PEFT does.
    pub fn pattern(text: &str) -> Result<Self> {
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

    pub fn matches(&self, module: &str) -> bool {
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

    pub fn check(&self) -> Result<()> {
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
    pub fn is_saved(&self, name: &str) -> bool {
        let ends = name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
        let saved = || std::iter::once(HEAD).chain(self.modules_to_save.iter().map(String::as_str));
        ends.into_iter().any(|end| saved().any(|module| name[..end].ends_with(module)))
    }
}
