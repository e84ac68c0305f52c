//! Checks that a model can read some tokens.

use anyhow::{Result, bail, ensure};

use crate::model::Config;
use crate::text::data::tokens::Tokens;

/// Check that a model with a table of token types has a row for the highest type. A model without the table, such as
/// DistilBERT, ignores types.
pub fn check_types(config: &Config, highest: u8) -> Result<()> {
    let types = config.token_types();
    ensure!(
        types == 0 || usize::from(highest) < types,
        "the rows are pairs of texts with token types 0 to {highest}, but the model has only {types} \
         (`type_vocab_size` of its config.json); use a model that was made for pairs"
    );
    Ok(())
}

/// Check that a model can read these tokens. Without this check it would panic, or give wrong results.
pub fn check_tokens(config: &Config, tokens: &Tokens) -> Result<()> {
    // A model masks its padding id everywhere: a real token with that id would get no position and no training.
    let (theirs, ours) = (tokens.pad_id, config.pad_id());
    ensure!(
        theirs == ours,
        "the tokens are padded with id {theirs}, but the model's padding id is {ours} (`pad_token_id` of its config.json); \
         tokenize with the model's own tokenizer"
    );
    let (longest, known) = (config.max_length(), config.vocab_size());
    for (name, split) in [("train", &tokens.train), ("validation", &tokens.validation), ("test", &tokens.test)] {
        for row in 0..split.len() {
            let (ids, at) = (split.row(row), split.id(row));
            let length = ids.len();
            ensure!(
                length <= longest,
                "{name} row `{at}` has {length} tokens, but the model takes at most {longest}; set max-length to {longest}"
            );
            if let Some(id) = ids.iter().find(|&&id| id as usize >= known) {
                bail!(
                    "{name} row `{at}` has token id {id}, but the model has {known} tokens; tokenize with the model's own \
                     tokenizer"
                );
            }
        }
        check_types(config, split.highest_type())?;
    }
    Ok(())
}
