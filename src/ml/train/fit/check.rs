//! Checks that a model can be trained on some tokens.

use anyhow::{Result, ensure};

use crate::judge::readable::check_tokens;
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
    check_tokens(config, tokens)
}
