//! The files of `models/tiny-roberta`: a byte-level BPE tokenizer learned from the sample, and a small config.

use std::path::Path;

use anyhow::{Context, Result};
use pipe_ml::text::data::declare::spec::{Format, Purpose, Source};
use pipe_ml::text::data::{Spec, preprocess};
use pipe_ml::text::tokenizer::learn::Learn;
use pipe_ml::watch::Silent;
use serde_json::{Value, json};

/// Reached or not: with `MIN_FREQUENCY` the sample's few words need fewer tokens.
pub const VOCABULARY: usize = 1_600;
pub const MIN_FREQUENCY: u64 = 8;

/// The cleaned texts that tokenizers learn from.
pub fn texts(root: &Path) -> Result<Vec<String>> {
    let mut spec = Spec::new(vec![Source::new("data/sample/train.csv", Format::Covid19, Purpose::Train)]);
    spec.validation = Some(0.0);
    let corpus = preprocess(&spec, 0, root, &Silent)?;
    // Links are random letters: learning pieces of them would only fill the vocabulary.
    let link = regex::Regex::new(r"https://t\.co/\S+")?;
    Ok(corpus.train.iter().map(|row| link.replace_all(&row.text, "https://t.co/").into_owned()).collect())
}

/// Names and bytes of the folder's files.
pub fn files(root: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let texts = texts(root)?;
    let learn = Learn { vocabulary: VOCABULARY, min_frequency: MIN_FREQUENCY };
    let mut files = learn.files(texts.iter().map(String::as_str))?;
    let vocab = files.iter().find(|(name, _)| *name == "vocab.json").context("no vocab.json was learned")?;
    let size = serde_json::from_slice::<serde_json::Map<String, Value>>(&vocab.1)?.len();
    let config = serde_json::to_string_pretty(&config(size))? + "\n";
    files.push(("config.json", config.into_bytes()));
    Ok(files)
}

/// Small enough to train in a minute on two cores, deep enough to learn what negation does to the word after it.
///
/// Chosen by trial: in as many epochs, dropout and narrower initial weights (0.1 and 0.02 in the big models) learned less.
fn config(vocabulary: usize) -> Value {
    json!({
        "architectures": ["RobertaForSequenceClassification"],
        "attention_probs_dropout_prob": 0.0,
        "bos_token_id": 0,
        "classifier_dropout": null,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 64,
        "initializer_range": 0.1,
        "intermediate_size": 256,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 258,
        "model_type": "roberta",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 1,
        "position_embedding_type": "absolute",
        "type_vocab_size": 1,
        "vocab_size": vocabulary,
    })
}
