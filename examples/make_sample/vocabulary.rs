//! The files of `models/tiny-roberta`: a byte-level BPE tokenizer learned from the sample, and a small config.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use pipe::ml::data::spec::{Format, Purpose, Source};
use pipe::ml::data::{Spec, preprocess};
use pipe::ml::watch::Silent;
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, ProgressFormat, Tokenizer};

/// Reached or not: with `MIN_FREQUENCY` the sample's few words need fewer tokens.
const VOCABULARY: usize = 1_600;
const MIN_FREQUENCY: u64 = 8;

/// RoBERTa's special tokens, with ids 0 to 4.
const SPECIAL: [&str; 5] = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];

/// Names and bytes of the folder's files.
pub fn files(root: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let tokenizer = train(root)?;
    let whole = tokenizer.to_string(true).map_err(|error| anyhow!(error))?;
    let parsed: Value = serde_json::from_str(&whole)?;
    let merges = merges(&parsed).context("the trained tokenizer has no merges")?;
    let size = tokenizer.get_vocab_size(true);
    Ok(vec![
        ("config.json", text(&config(size))?),
        ("tokenizer.json", (whole + "\n").into_bytes()),
        ("vocab.json", text(&vocabulary(&tokenizer, size)?)?),
        ("merges.txt", merges.into_bytes()),
        ("tokenizer_config.json", text(&tokenizer_config())?),
        ("special_tokens_map.json", text(&special_tokens())?),
    ])
}

fn text(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text.into_bytes())
}

fn special(token: &str) -> AddedToken {
    AddedToken::from(token.to_owned(), true).lstrip(token == "<mask>").normalized(token != "<mask>")
}

fn train(root: &Path) -> Result<Tokenizer> {
    let mut spec = Spec::new(vec![Source::new("data/sample/train.csv", Format::Covid19, Purpose::Train)]);
    spec.validation = Some(0.0);
    let corpus = preprocess(&spec, 0, root, &Silent)?;
    // Links are random letters: learning pieces of them would only fill the vocabulary.
    let link = regex::Regex::new(r"https://t\.co/\S+")?;
    let texts: Vec<String> =
        corpus.train.iter().map(|row| link.replace_all(&row.text, "https://t.co/").into_owned()).collect();

    let level = ByteLevel::new(false, true, true);
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(level)).with_decoder(Some(level));
    let trainer = BpeTrainerBuilder::new()
        .vocab_size(VOCABULARY)
        .min_frequency(MIN_FREQUENCY)
        .show_progress(false)
        .progress_format(ProgressFormat::Silent)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(SPECIAL.map(special).to_vec())
        .build();
    let mut trainer = tokenizers::models::TrainerWrapper::from(trainer);
    tokenizer.train(&mut trainer, texts.iter()).map_err(|error| anyhow!(error))?;
    tokenizer.with_post_processor(Some(
        RobertaProcessing::new(("</s>".to_owned(), 2), ("<s>".to_owned(), 0))
            .trim_offsets(true)
            .add_prefix_space(false),
    ));
    Ok(tokenizer)
}

fn merges(tokenizer: &Value) -> Option<String> {
    let mut out = "#version: 0.2\n".to_owned();
    for merge in tokenizer["model"]["merges"].as_array()? {
        let pair = merge.as_array()?;
        out.push_str(&format!("{} {}\n", pair.first()?.as_str()?, pair.get(1)?.as_str()?));
    }
    Some(out)
}

fn vocabulary(tokenizer: &Tokenizer, size: usize) -> Result<BTreeMap<String, u32>> {
    let token = |id| tokenizer.id_to_token(id).with_context(|| format!("id {id} has no token"));
    (0..size as u32).map(|id| Ok((token(id)?, id))).collect()
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

fn tokenizer_config() -> Value {
    json!({
        "add_prefix_space": false,
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "errors": "replace",
        "mask_token": "<mask>",
        "model_max_length": 256,
        "pad_token": "<pad>",
        "sep_token": "</s>",
        "tokenizer_class": "RobertaTokenizer",
        "trim_offsets": true,
        "unk_token": "<unk>",
    })
}

fn special_tokens() -> Value {
    json!({
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "mask_token": {"content": "<mask>", "lstrip": true, "normalized": false, "rstrip": false, "single_word": false},
        "pad_token": "<pad>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
    })
}
