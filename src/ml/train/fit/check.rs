//! What a model must know of the tokens that it is trained on.

use anyhow::{Result, bail, ensure};

use crate::model::Model;
use crate::text::batch::Padding;
use crate::text::data::tokens::Tokens;

/// Whether the model can read these tokens and knows these labels; inside the model this would be a panic.
pub fn check(model: &Model, tokens: &Tokens, padding: Padding) -> Result<()> {
    let config = model.config();
    if let Padding::Fixed(width) = padding {
        let longest = config.max_length();
        ensure!(width <= longest, "padding is fixed to {width}, but the model takes {longest} tokens; lower it");
    }
    let (classes, labels) = (config.labels().len(), tokens.labels.len());
    ensure!(
        classes == labels,
        "the model has {classes} labels and the tokens have {labels}; load the model with the tokens' labels"
    );
    // A model treats the id as padding wherever it meets it: a real token of that id would lose its place and its training.
    let (theirs, ours) = (tokens.pad_id, config.pad_id());
    ensure!(
        theirs == ours,
        "the tokens are padded with id {theirs}, but the model takes {ours} for padding (`pad_token_id` of its config.json); \
         tokenize with the tokenizer of the model"
    );
    for (name, split) in [("train", &tokens.train), ("validation", &tokens.validation)] {
        for row in 0..split.len() {
            let (ids, at) = (split.row(row), split.id(row));
            let (length, longest, known) = (ids.len(), config.max_length(), config.vocab_size());
            ensure!(
                length <= longest,
                "{name} row `{at}` has {length} tokens, the model takes {longest}; set max-length to {longest}"
            );
            if let Some(id) = ids.iter().find(|&&id| id as usize >= known) {
                bail!(
                    "{name} row `{at}` holds token {id}, the model knows {known}; tokenize with the model's own tokenizer"
                );
            }
        }
    }
    Ok(())
}
