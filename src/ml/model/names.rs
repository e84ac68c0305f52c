//! A family's names in configs and checkpoints, and which parameter each tensor of a checkpoint is.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::{Result, bail};

use crate::files::weights::Weights;
use crate::files::weights::stored::Stored;

/// What a family calls things; each family defines its own beside its modules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// Each `model_type` of the family in `config.json`, with the class that `architectures` names for it.
    pub types: &'static [(&'static str, &'static str)],
    /// The field of `config.json` with the number of layers.
    pub layers: &'static str,
    /// The field of `config.json` with the width of the feed-forward layers.
    pub intermediate: &'static str,
    /// The field of the encoder, with which the names of its parameters begin.
    pub body: &'static str,
    /// The fields of the encoder, with which the names begin if the encoder was saved alone.
    pub parts: &'static [&'static str],
    /// The modules of encoder layers, if their names in files are not those of BERT.
    pub renamed: Option<Renamed>,
    /// The tables whose row for the padding token starts at zero.
    pub padded: &'static [&'static str],
    /// The modules that PEFT adapts by default.
    pub adapted: &'static [&'static str],
}

/// Names of an encoder that differ from BERT's, which the shared modules have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Renamed {
    /// The name of the field `encoder`.
    pub encoder: &'static str,
    /// BERT's names for the modules of a layer, and the family's.
    pub modules: &'static [(&'static str, &'static str)],
}

/// The suffix of a weight's name after the name of its layer.
pub(crate) const WEIGHT: &str = ".weight";
/// The prefix that PEFT puts before every name of the model it wraps.
pub(crate) const PEFT: &str = "base_model.model.";
/// Fields that wrappers put in front of a whole model: classes with the model in a field, and PEFT.
const IN_FRONT: [&str; 2] = ["model", "base_model"];
/// Fields that wrappers put anywhere, because they can wrap any part: `DataParallel` and older FSDP, `torch.compile`,
/// activation checkpointing, FSDP and its predecessor, DeepSpeed, Opacus, and PEFT around a layer with an adapter.
const ANYWHERE: [&str; 8] = [
    "module",
    "_orig_mod",
    "_checkpoint_wrapped_module",
    "_fsdp_wrapped_module",
    "_fpw_module",
    "_forward_module",
    "_module",
    "base_layer",
];
/// PEFT's two copies of a module that is trained in full: before training, and after, followed by the adapter's name.
const BEFORE: &str = "original_module";
const AFTER: &str = "modules_to_save";
/// Suffixes from before PyTorch had LayerNorm, and the current ones.
const OLD: [(&str, &str); 2] = [("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")];
/// Index tables that old versions of transformers saved among the weights.
const BUFFERS: [&str; 2] = ["embeddings.position_ids", "embeddings.token_type_ids"];

impl Names {
    /// BERT's, which other families differ from in a few.
    pub(crate) const BERT: Names = Names {
        types: &[("bert", "BertForSequenceClassification")],
        layers: "num_hidden_layers",
        intermediate: "intermediate_size",
        body: "bert",
        parts: &["embeddings", "encoder", "pooler"],
        renamed: None,
        padded: &["word_embeddings"],
        adapted: &["query", "value"],
    };

    /// Maps each tensor to the name of its parameter.
    pub(crate) fn resolve<'a>(&self, weights: &'a Weights) -> Result<BTreeMap<String, &'a Stored>> {
        let names = || weights.tensors.keys();
        if let Some(name) = names().find(|name| name.split('.').any(|field| field.starts_with("lora_"))) {
            bail!(
                "tensor {name} belongs to an adapter that is not merged into the model; call `merge_and_unload` of \
                 peft and save the model again, or save the adapter and merge it with `use = \"merge\"`"
            );
        }
        let bare = !names().any(|name| begins(&unwrapped(name), self.body));
        let has_copies = names().any(|name| name.split('.').any(|field| field == AFTER));
        let mut resolved = BTreeMap::new();
        let mut origins = BTreeMap::new();
        for (name, stored) in &weights.tensors {
            if has_copies && name.split('.').any(|field| field == BEFORE) {
                continue;
            }
            let mut parameter = modern(&unwrapped(name));
            if bare && self.parts.iter().any(|part| begins(&parameter, part)) {
                parameter = format!("{}.{parameter}", self.body);
            }
            match origins.entry(parameter.clone()) {
                Entry::Vacant(place) => drop(place.insert(name)),
                Entry::Occupied(other) => {
                    bail!("the tensors {} and {name} are both named {parameter} in current checkpoints", other.get())
                }
            }
            resolved.insert(parameter, stored);
        }
        Ok(resolved)
    }

    /// The class that `architectures` of a config names for a `model_type`.
    pub(crate) fn architecture(&self, model_type: &str) -> &'static str {
        let of_type = self.types.iter().find(|(name, _)| *name == model_type);
        of_type.or(self.types.first()).map_or("", |(_, architecture)| architecture)
    }

    /// The name in files of a parameter or module whose path of fields is `path`.
    pub(crate) fn in_files(&self, path: String) -> String {
        let Some(Renamed { encoder, modules }) = &self.renamed else { return path };
        let layer = path.strip_prefix(self.body).and_then(|rest| rest.strip_prefix(".encoder.layer."));
        let Some((number, module)) = layer.and_then(|layer| layer.split_once('.')) else { return path };
        let theirs = modules.iter().find_map(|(ours, theirs)| Some(format!("{theirs}{}", module.strip_prefix(ours)?)));
        format!("{}.{encoder}.layer.{number}.{}", self.body, theirs.as_deref().unwrap_or(module))
    }

    /// Whether a parameter belongs to the encoder.
    pub(crate) fn is_body(&self, parameter: &str) -> bool {
        begins(parameter, self.body)
    }
}

/// Whether a tensor is an index table of an old checkpoint, which can be ignored silently.
pub(crate) fn is_buffer(name: &str) -> bool {
    BUFFERS.iter().any(|buffer| name.ends_with(buffer))
}

fn begins(name: &str, field: &str) -> bool {
    name.strip_prefix(field).is_some_and(|rest| rest.starts_with('.'))
}

/// Removes the fields that wrappers added.
pub(super) fn unwrapped(name: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut fields = name.split('.');
    while let Some(field) = fields.next() {
        match field {
            AFTER => drop(fields.next()),
            BEFORE => {}
            _ if ANYWHERE.contains(&field) || kept.is_empty() && IN_FRONT.contains(&field) => {}
            _ => kept.push(field),
        }
    }
    kept.join(".")
}

/// Replaces an old suffix by the current one.
pub(super) fn modern(name: &str) -> String {
    let old = OLD.iter().find_map(|(old, new)| Some(format!("{}{new}", name.strip_suffix(old)?)));
    old.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::weights;
    use crate::model::distilbert::DistilBertConfig;
    use crate::model::network::FamilyConfig;
    use crate::model::roberta::RobertaConfig;
    use crate::model::{HostTensor, HostTensors};

    /// The parameter names of a file with these tensor names.
    fn resolved(names: &[&str]) -> Result<Vec<String>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join(weights::SINGLE);
        let tensor = HostTensor { shape: vec![1], data: vec![1.0] };
        let tensors: HostTensors = names.iter().map(|name| (name.to_string(), tensor.clone())).collect();
        weights::write_f32(&path, &tensors)?;
        let weights = Weights::of(&[path])?;
        Ok(RobertaConfig::NAMES.resolve(&weights)?.into_keys().collect())
    }

    #[test]
    fn names_of_every_age_and_wrapper_are_those_of_the_parameters() {
        for name in [
            "roberta.encoder.layer.0.output.LayerNorm.weight",
            "roberta.encoder.layer.0.output.LayerNorm.gamma",
            "encoder.layer.0.output.LayerNorm.weight",
            "module.roberta.encoder.layer.0.output.LayerNorm.gamma",
            "module._orig_mod.model.encoder.layer.0.output.LayerNorm.weight",
            "roberta.encoder._orig_mod.layer.0.output.LayerNorm.weight",
            "roberta._orig_mod.encoder.layer.0._orig_mod.output.LayerNorm.weight",
            "roberta.encoder.layer.0._checkpoint_wrapped_module.output.LayerNorm.weight",
            "_fsdp_wrapped_module.roberta.encoder.layer.0._fsdp_wrapped_module.output.LayerNorm.gamma",
            "_fsdp_wrapped_module._fpw_module.roberta.encoder.layer.0.module.output.LayerNorm.weight",
            "_forward_module.model.roberta.encoder.layer.0.output.LayerNorm.weight",
            "_module.roberta.encoder.layer.0.output.LayerNorm.weight",
            "base_model.model.roberta.encoder.layer.0.output.LayerNorm.weight",
            "base_model.model.encoder.layer.0.output.LayerNorm.base_layer.weight",
        ] {
            assert_eq!(resolved(&[name]).unwrap(), ["roberta.encoder.layer.0.output.LayerNorm.weight"], "{name}");
        }
    }

    #[test]
    fn of_two_copies_of_a_trained_head_the_trained_one_counts() {
        let before = "base_model.model.classifier.original_module.dense.weight";
        let after = "base_model.model.classifier.modules_to_save.default.dense.weight";
        assert_eq!(resolved(&[before, after]).unwrap(), ["classifier.dense.weight"]);
        assert_eq!(resolved(&[before]).unwrap(), ["classifier.dense.weight"]);
    }

    #[test]
    fn an_adapter_that_is_not_merged_is_refused() {
        let name = "base_model.model.roberta.encoder.layer.0.attention.self.query.lora_A.default.weight";
        assert_eq!(
            resolved(&["roberta.a.weight", name]).unwrap_err().to_string(),
            format!(
                "tensor {name} belongs to an adapter that is not merged into the model; call `merge_and_unload` of peft \
                 and save the model again, or save the adapter and merge it with `use = \"merge\"`"
            )
        );
    }

    #[test]
    fn only_an_encoder_by_itself_gets_the_name_of_its_field() {
        let bare = resolved(&["embeddings.word_embeddings.weight", "lm_head.bias", "pooler.dense.bias"]).unwrap();
        assert_eq!(bare, ["lm_head.bias", "roberta.embeddings.word_embeddings.weight", "roberta.pooler.dense.bias"]);
        let whole = resolved(&["encoder.weight", "roberta.encoder.weight"]).unwrap();
        assert_eq!(whole, ["encoder.weight", "roberta.encoder.weight"]);
    }

    #[test]
    fn two_tensors_for_one_parameter_are_refused() {
        let text = resolved(&["roberta.a.LayerNorm.beta", "roberta.a.LayerNorm.bias"]).unwrap_err().to_string();
        let expected = "the tensors roberta.a.LayerNorm.beta and roberta.a.LayerNorm.bias are both named roberta.a.LayerNorm.bias in \
             current checkpoints";
        assert_eq!(text, expected);
    }

    #[test]
    fn distilbert_renames_the_modules_of_its_layers_and_nothing_else() {
        let names = DistilBertConfig::NAMES;
        for (path, name) in [
            (
                "distilbert.encoder.layer.11.attention.self.query.weight",
                "distilbert.transformer.layer.11.attention.q_lin.weight",
            ),
            ("distilbert.encoder.layer.0.output.LayerNorm", "distilbert.transformer.layer.0.output_layer_norm"),
            ("distilbert.embeddings.LayerNorm.weight", "distilbert.embeddings.LayerNorm.weight"),
            ("bert.encoder.layer.0.output.LayerNorm", "bert.encoder.layer.0.output.LayerNorm"),
            ("pre_classifier.bias", "pre_classifier.bias"),
        ] {
            assert_eq!(names.in_files(path.into()), name);
        }
    }
}
