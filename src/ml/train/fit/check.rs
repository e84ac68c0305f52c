//! Checks that a model can be trained on some tokens.

use anyhow::{Result, bail, ensure};

use crate::model::Model;
use crate::text::batch::Padding;
use crate::text::data::tokens::Tokens;

/// Check that the model can read these tokens and has their labels. Without this check, the model would panic.
pub(super) fn check(model: &Model, tokens: &Tokens, padding: Padding) -> Result<()> {
    let config = model.config();
    if let Padding::Fixed(width) = padding {
        let longest = config.max_length();
        ensure!(
            width <= longest,
            "padding is fixed to {width}, but the model takes at most {longest} tokens; lower it"
        );
    }
    let (classes, labels) = (config.labels().len(), tokens.labels.len());
    ensure!(
        classes == labels,
        "the model has {classes} labels and the tokens have {labels}; load the model with the tokens' labels"
    );
    // A model masks its padding id everywhere: a real token with that id would get no position and no training.
    let (theirs, ours) = (tokens.pad_id, config.pad_id());
    ensure!(
        theirs == ours,
        "the tokens are padded with id {theirs}, but the model's padding id is {ours} (`pad_token_id` of its config.json); \
         tokenize with the model's own tokenizer"
    );
    for (name, split) in [("train", &tokens.train), ("validation", &tokens.validation)] {
        for row in 0..split.len() {
            let (ids, at) = (split.row(row), split.id(row));
            let (length, longest, known) = (ids.len(), config.max_length(), config.vocab_size());
            ensure!(
                length <= longest,
                "{name} row `{at}` has {length} tokens, but the model takes at most {longest}; set max-length to {longest}"
            );
            if let Some(id) = ids.iter().find(|&&id| id as usize >= known) {
                bail!(
                    "{name} row `{at}` has token id {id}, but the model has {known} tokens; tokenize with the model's own tokenizer"
                );
            }
        }
    }
    Ok(())
}
