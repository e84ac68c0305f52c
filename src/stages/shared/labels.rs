//! Where a model meets tokens: their labels are the same, are matched by name, or are refused.

use std::path::Path;

use anyhow::{Result, bail};

use pipe_engine::contract::context::Context;
use pipe_ml::compute::device::Chosen;
use pipe_ml::judge::classifier::Classifier;
use pipe_ml::model::head::HeadKind;
use pipe_ml::model::relabel::{Correspondence, are_numbered, pairs};
use pipe_ml::model::{Config, Initialised, Loaded, Model};
use pipe_ml::text::data::Tokens;

/// The order in which a model's logits are those of the tokens' labels; none if it has that order already.
///
/// `whose` is what messages call the model: `the teacher`.
pub fn label_order(labels: &[String], tokens: &Tokens, whose: &str) -> Result<Option<Vec<usize>>> {
    match Correspondence::of(labels, &tokens.labels) {
        Correspondence::Same => Ok(None),
        Correspondence::ByName(order) => Ok(Some(order)),
        Correspondence::Different => {
            let advice = if are_numbered(labels) && labels.len() == tokens.labels.len() {
                "; the model's labels have no names: if you know the order of its outputs, name them with `labels = […]` \
                 in the stage that gives the model (`model` and `merge` have it)"
            } else {
                ""
            };
            bail!(
                "{whose} classifies into {}, but the tokens are labelled {}{advice}",
                labels.join(", "),
                tokens.labels.join(", ")
            )
        }
    }
}

pub fn note(cx: &Context, own: &[String], tokens: &Tokens, order: &[usize], whose: &str) {
    cx.note(format!(
        "{whose} has its labels in another order or spelling than the tokens; they are matched by name: {}",
        pairs(own, &tokens.labels, order)
    ));
}

/// Open a trained model to score rows of `tokens`; its logits are in the order of their labels.
pub fn classifier_for(cx: &Context, dir: &Path, tokens: &Tokens, device: &Chosen, whose: &str) -> Result<Classifier> {
    let classifier = Classifier::open(dir, &device.device)?;
    let own = classifier.labels().to_vec();
    let Some(order) = label_order(&own, tokens, whose)? else { return Ok(classifier) };
    note(cx, &own, tokens, &order, whose);
    classifier.with_label_order(&tokens.labels, &order)
}

/// Load a trained model to change or train it on rows of `tokens`; its logits are in the order of their labels.
pub fn model_for(cx: &Context, dir: &Path, tokens: &Tokens, device: &Chosen, whose: &str) -> Result<Loaded> {
    let own = Config::open(dir)?.labels().to_vec();
    let order = label_order(&own, tokens, whose)?;
    let mut loaded = Model::load(dir, None, cx.seed(), &device.device)?;
    if let Some(order) = order {
        note(cx, &own, tokens, &order, whose);
        loaded.model = loaded.model.with_label_order(&tokens.labels, &order)?;
    }
    Ok(loaded)
}

/// Load the model that training starts from, with a head for the tokens' labels. A head that was trained for the same
/// labels in another order or spelling keeps what it learned.
pub fn base_for(cx: &Context, dir: &Path, head: Option<HeadKind>, tokens: &Tokens, device: &Chosen) -> Result<Loaded> {
    let config = Config::open(dir)?;
    let head = head.unwrap_or(config.head());
    let own = config.labels().to_vec();
    if let (Correspondence::ByName(order), true) = (Correspondence::of(&own, &tokens.labels), head == config.head()) {
        let mut loaded = Model::load_as(config, dir, cx.seed(), &device.device)?;
        // A head of random values has no order.
        if loaded.initialised == Initialised::Nothing {
            note(cx, &own, tokens, &order, "the base");
            loaded.model = loaded.model.with_label_order(&tokens.labels, &order)?;
        } else {
            loaded.model.set_labels(&tokens.labels);
        }
        return Ok(loaded);
    }
    Model::load_as(config.with_labels(&tokens.labels).with_head(head), dir, cx.seed(), &device.device)
}
