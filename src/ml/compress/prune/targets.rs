//! Selects the linear layers of a model to prune.

use std::fmt;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::model::modules;
use crate::model::part::{Part, Place, place};

/// A part of a model with linear layers, or some layers by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// Both matrices of the feed-forward half of each encoder layer.
    Ffn,
    /// The projections of the attention of each encoder layer, including the output's.
    Attention,
    /// The layers after the encoder: pooler and classifier.
    Head,
    /// Modules by the end of their name, with `*` for any characters.
    Modules(String),
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "" => Err("a target is empty; write \"ffn\", \"attention\", \"head\" or a module's name".into()),
            "ffn" => Ok(Target::Ffn),
            "attention" => Ok(Target::Attention),
            "head" => Ok(Target::Head),
            _ => Ok(Target::Modules(text)),
        }
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Ffn => "ffn",
            Target::Attention => "attention",
            Target::Head => "head",
            Target::Modules(pattern) => pattern,
        })
    }
}

impl Target {
    /// Decided by name alone: all families use the name `attention`, and the other linear layers of an encoder layer
    /// are its feed-forward half.
    fn holds(&self, module: &str) -> bool {
        let Place { part, within } = place(module);
        let is_attention = within.starts_with("attention.");
        match (self, part) {
            (Target::Ffn, Part::Layer(_)) => !is_attention,
            (Target::Attention, Part::Layer(_)) => is_attention,
            (Target::Head, Part::Head) => true,
            (Target::Modules(pattern), _) => modules::matches(pattern, module),
            _ => false,
        }
    }
}

/// The module whose weight this tensor is, if it is a linear layer: a matrix that is not an embedding table.
fn linear<'a>((name, shape): (&'a str, &[usize])) -> Option<&'a str> {
    let module = name.strip_suffix(".weight")?;
    (shape.len() == 2 && !name.contains("embeddings")).then_some(module)
}

/// Names of the weights that `targets` match, among tensors given by name and shape. Without targets, all linear
/// layers.
pub(super) fn select<'a>(
    targets: &[Target],
    tensors: impl Iterator<Item = (&'a str, &'a [usize])>,
) -> Result<Vec<String>> {
    let modules: Vec<&str> = tensors.filter_map(linear).collect();
    ensure!(!modules.is_empty(), "the model has no linear layers to prune");
    let idle = targets.iter().filter(|target| !modules.iter().any(|module| target.holds(module)));
    let idle: Vec<String> = idle.map(|target| format!("`{target}`")).collect();
    ensure!(
        idle.is_empty(),
        "target {} matches no linear layer of the model; there are {}",
        idle.join(", "),
        modules::kinds(modules.iter().copied(), "*")
    );
    let wanted = |module: &&&str| targets.is_empty() || targets.iter().any(|target| target.holds(module));
    Ok(modules.iter().filter(wanted).map(|module| format!("{module}.weight")).collect())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::Model;
    use crate::model::fixture::Fixture;

    fn targets(texts: &[&str]) -> Vec<Target> {
        texts.iter().map(|text| Target::try_from(text.to_string()).unwrap()).collect()
    }

    #[test]
    fn the_words_are_resolved_in_every_family_and_together_are_all() {
        for fixture in Fixture::classifiers() {
            let mut model = Model::load(&fixture.dir, None, 0, &Device::flex()).unwrap().model;
            let mut linears = Vec::new();
            model.map_linears(&mut |name, _| linears.push(format!("{name}.weight")));
            let parameters = model.parameters();
            let named = |texts: &[&str]| {
                let tensors = parameters.iter().map(|p| (p.name.as_str(), p.shape.as_slice()));
                select(&targets(texts), tensors).unwrap()
            };
            let (ffn, attention, head) = (named(&["ffn"]), named(&["attention"]), named(&["head"]));
            let layers = model.config().layers();
            let name = fixture.name();
            assert_eq!(ffn.len(), 2 * layers, "{name}: {ffn:?}");
            assert!(attention.len() >= 4 * layers, "{name}: {attention:?}");
            assert!(head.iter().all(|n| n.contains("classifier") || n.contains("pooler")), "{name}: {head:?}");
            let mut parts = [ffn, attention, head].concat();
            parts.sort();
            linears.sort();
            assert_eq!(parts, linears, "{name}");
            let mut all = named(&[]);
            all.sort();
            assert_eq!(all, linears, "{name}");
        }
    }

    #[test]
    fn a_target_that_matches_nothing_lists_what_there_is() {
        let shape = [2, 2];
        let names = ["roberta.encoder.layer.0.attention.self.query", "roberta.encoder.layer.1.attention.self.query"];
        let names: Vec<String> = names.iter().map(|name| format!("{name}.weight")).collect();
        let tensors = || names.iter().map(|name| (name.as_str(), shape.as_slice()));
        assert_eq!(select(&targets(&["layer.1.*.query"]), tensors()).unwrap(), names[1..]);
        let error = select(&targets(&["query", "key", "ffn"]), tensors()).unwrap_err().to_string();
        assert_eq!(
            error,
            "target `key`, `ffn` matches no linear layer of the model; there are \
             roberta.encoder.layer.*.attention.self.query"
        );
        assert!(Target::try_from(String::new()).is_err());
    }
}
