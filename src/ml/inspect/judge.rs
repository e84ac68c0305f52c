//! What loading the model and predicting with it would complain about, told without doing so.

use std::path::Path;

use super::{Inspection, json};
use crate::ml::model::config::Config;
use crate::ml::model::weights::Weights;
use crate::ml::model::{Match, shortened};

/// From here on, `model_max_length` stands for "no limit" (transformers writes 10^30).
const NO_LIMIT: f64 = 1e9;

impl Inspection {
    /// How the tensors suit a classifier of this config.
    pub(super) fn judge_fit(&mut self, weights: &Weights, config: Option<&Config>) {
        let Some(config) = config else { return };
        let Match { missing, resized, unexpected } = match Match::of(config, weights) {
            Ok(fit) => fit,
            Err(error) => return self.note(format!("the model does not load: {error:#}")),
        };
        let labels = config.labels().len();
        let findings = [
            (missing, "not in the files, training starts them fresh".to_owned()),
            (resized, format!("of another shape for {labels} labels, training starts them fresh")),
            (unexpected, "not used by a classifier, left out".to_owned()),
        ];
        for (names, finding) in findings.iter().filter(|(names, _)| !names.is_empty()) {
            self.note(format!("{finding}: {}", shortened(names)));
        }
    }

    /// Whether the tokenizer gives ids that the model does not know, and lets texts through that it has no positions for.
    pub(super) fn judge_tokenizer(&mut self, dir: &Path, config: Option<&Config>) {
        let Some(config) = config else { return };
        let (rows, positions) = (config.vocab_size(), config.max_length());
        let ids = self.tokenizer.as_ref().map_or(0, |tokenizer| tokenizer.ids);
        if ids > rows {
            self.note(format!(
                "the tokenizer has {ids} ids, but the model knows {rows}: texts with the others cannot be scored"
            ));
        }
        let length = json(&dir.join("tokenizer_config.json")).ok().and_then(|value| value["model_max_length"].as_f64());
        if let Some(length) = length.filter(|length| *length < NO_LIMIT && *length > positions as f64) {
            self.note(format!(
                "tokenizer_config.json lets {length} tokens through, but the model has {positions} positions: longer texts are cut"
            ));
        }
    }
}
