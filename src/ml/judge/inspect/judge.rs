//! Predicts, without loading the model, what loading it and scoring with it would complain about.

use std::path::Path;

use super::Inspection;
use super::inspection::json;
use crate::files::weights::Weights;
use crate::model::config::Config;
use crate::model::{Match, shortened};

/// From this value on, `model_max_length` means "no limit" (transformers writes 10^30).
const NO_LIMIT: f64 = 1e9;

impl Inspection {
    /// Note where the tensors do not match a classifier of this config.
    pub(super) fn judge_fit(&mut self, weights: &Weights, config: Option<&Config>) {
        let Some(config) = config else { return };
        let Match { missing, resized, unexpected } = match Match::of(config, weights) {
            Ok(fit) => fit,
            Err(error) => return self.note(format!("cannot load the model: {error:#}")),
        };
        let labels = config.labels().len();
        let findings = [
            (missing, "missing from the files; training would start them from random values".to_owned()),
            (
                resized,
                format!("in another shape than {labels} labels need; training would start them from random values"),
            ),
            (unexpected, "ignored, because a classifier does not use them".to_owned()),
        ];
        for (names, finding) in findings.iter().filter(|(names, _)| !names.is_empty()) {
            self.note(format!("{finding}: {}", shortened(names)));
        }
    }

    /// Note if the tokenizer gives ids that the model does not have, or accepts longer texts than the model has
    /// positions for.
    pub(super) fn judge_tokenizer(&mut self, dir: &Path, config: Option<&Config>) {
        let Some(config) = config else { return };
        let (rows, positions) = (config.vocab_size(), config.max_length());
        let ids = self.tokenizer.as_ref().map_or(0, |tokenizer| tokenizer.ids);
        if ids > rows {
            self.note(format!(
                "the tokenizer has {ids} ids, but the model has {rows}; texts with higher ids cannot be scored"
            ));
        }
        let length = json(&dir.join("tokenizer_config.json")).ok().and_then(|value| value["model_max_length"].as_f64());
        if let Some(length) = length.filter(|length| *length < NO_LIMIT && *length > positions as f64) {
            self.note(format!(
                "tokenizer_config.json allows {length} tokens, but the model has {positions} positions; longer texts \
                 are cut"
            ));
        }
    }
}
