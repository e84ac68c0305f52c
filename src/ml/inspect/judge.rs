//! What loading a model would complain about, told from names and shapes.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Inspection, Tensor, json};
use crate::ml::model::config::Config;
use crate::ml::model::part::{Key, Part, key};
use crate::ml::model::{Model, Named, shortened};

/// From here on, `model_max_length` stands for "no limit" (transformers writes 10^30).
const NO_LIMIT: f64 = 1e9;

impl Inspection {
    /// Compares the tensors and the tokenizer with what a classifier of this config needs.
    pub(super) fn judge(&mut self, config: Option<&Config>) {
        let Some(config) = config else { return };
        let wanted = Model::outline(config);
        self.parameters.trainable = Some(wanted.iter().map(|named| named.size() as u64).sum());
        if !self.files.is_empty() {
            let notes = tensors(&self.tensors, &wanted, config);
            self.notes.extend(notes);
        }
        let ids = self.tokenizer.as_ref().map_or(0, |tokenizer| tokenizer.ids);
        if ids > config.vocab_size() {
            let rows = config.vocab_size();
            self.note(format!("the tokenizer has {ids} ids, but the model knows {rows}: it does not predict"));
        }
    }

    /// Whether the tokenizer lets texts through that are longer than the model's positions.
    pub(super) fn judge_length(&mut self, dir: &Path, config: Option<&Config>) {
        let path = dir.join("tokenizer_config.json");
        let (Some(config), true) = (config, path.is_file()) else { return };
        let Ok(value) = json(&path) else { return };
        let length = value["model_max_length"].as_f64().filter(|length| *length < NO_LIMIT);
        if let Some(length) = length.filter(|length| *length > config.max_length() as f64) {
            let positions = config.max_length();
            self.note(format!(
                "tokenizer_config.json lets {length} tokens through, but the model has {positions} positions: longer texts are cut"
            ));
        }
    }
}

fn tensors(found: &[Tensor], wanted: &[Named], config: &Config) -> Vec<String> {
    let held: BTreeMap<Key, &Tensor> = found.iter().map(|tensor| (key(&tensor.name), tensor)).collect();
    let in_body = |named: &&Named| key(&named.name).part != Part::Head;
    if !wanted.iter().filter(in_body).any(|named| held.contains_key(&key(&named.name))) {
        return vec![format!(
            "none of the tensors has a name of the `{}` family, such as {}: the model does not load",
            config.model_type(),
            wanted.first().map_or("", |named| &named.name)
        )];
    }
    let (mut missing, mut resized, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for named in wanted {
        match held.get(&key(&named.name)) {
            None => missing.push(named.name.clone()),
            Some(tensor) if tensor.shape == named.shape => {}
            Some(tensor) if in_body(&named) => notes.push(format!(
                "{} has shape {:?}, but config.json asks for {:?}: the model does not load",
                named.name, tensor.shape, named.shape
            )),
            Some(tensor) => resized.push(format!("{} {:?} instead of {:?}", named.name, tensor.shape, named.shape)),
        }
    }
    if !missing.is_empty() {
        notes.push(format!("not in the files, training starts them fresh: {}", shortened(&missing)));
    }
    if !resized.is_empty() {
        let labels = config.labels().len();
        notes
            .push(format!("of another shape for {labels} labels, training starts them fresh: {}", shortened(&resized)));
    }
    let known: Vec<Key> = wanted.iter().map(|named| key(&named.name)).collect();
    let is_unknown = |tensor: &&Tensor| tensor.parameters > 0 && !known.contains(&key(&tensor.name));
    let unknown: Vec<String> = found.iter().filter(is_unknown).map(|tensor| tensor.name.clone()).collect();
    if !unknown.is_empty() {
        notes.push(format!("not used by a classifier, left out: {}", shortened(&unknown)));
    }
    notes
}
