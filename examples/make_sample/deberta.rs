//! The files of `models/tiny-deberta`: a tokenizer of words with a leading `▁`, as in sentencepiece, and a small
//! config.
//!
//! BPE finds its pieces: the unigram trainer of `tokenizers` sums in an order that depends on the number of cores, but
//! these files must be the same on every machine.

use std::path::Path;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, ProgressFormat, Tokenizer};

use super::vocabulary::{MIN_FREQUENCY, VOCABULARY, texts};

/// DeBERTa's special tokens, with ids 0 to 4.
const SPECIAL: [&str; 5] = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"];

/// Names and contents of the folder's files.
pub fn files(root: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let tokenizer = learned(&texts(root)?)?;
    let size = tokenizer.get_vocab_size(true);
    let whole = tokenizer.to_string(true).map_err(|error| anyhow!(error))? + "\n";
    let text = |value: Value| Ok::<_, anyhow::Error>((serde_json::to_string_pretty(&value)? + "\n").into_bytes());
    let [pad, cls, sep, unk, mask] = SPECIAL;
    let special = json!({
        "cls_token": cls, "mask_token": mask, "pad_token": pad, "sep_token": sep, "unk_token": unk,
    });
    let mut config = special.clone();
    config["model_max_length"] = json!(256);
    config["tokenizer_class"] = json!("PreTrainedTokenizerFast");
    Ok(vec![
        ("tokenizer.json", whole.into_bytes()),
        ("tokenizer_config.json", text(config)?),
        ("special_tokens_map.json", text(special)?),
        ("config.json", text(self::config(size))?),
    ])
}

fn learned(texts: &[String]) -> Result<Tokenizer> {
    let [_, cls, sep, unk, _] = SPECIAL;
    let space = Metaspace::new('▁', PrependScheme::Always, true);
    let mut tokenizer = Tokenizer::new(BPE::builder().unk_token(unk.into()).build().map_err(|error| anyhow!(error))?);
    tokenizer.with_pre_tokenizer(Some(space.clone())).with_decoder(Some(space));
    let trainer = BpeTrainerBuilder::new()
        .vocab_size(VOCABULARY)
        .min_frequency(MIN_FREQUENCY)
        .show_progress(false)
        .progress_format(ProgressFormat::Silent)
        .special_tokens(SPECIAL.map(|token| AddedToken::from(token.to_owned(), true).normalized(false)).to_vec())
        .build();
    tokenizer
        .train(&mut TrainerWrapper::from(trainer), texts.iter().map(String::as_str))
        .map_err(|error| anyhow!(error))?;
    let ends = TemplateProcessing::builder()
        .try_single(format!("{cls}:0 $A:0 {sep}:0"))
        .and_then(|builder| builder.try_pair(format!("{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1")))
        .map_err(|error| anyhow!(error))?
        .special_tokens(vec![(cls.to_owned(), 1), (sep.to_owned(), 2)])
        .build()?;
    tokenizer.with_post_processor(Some(ends));
    Ok(tokenizer)
}

/// DeBERTa-v3's attention at the size of `tiny-roberta`.
fn config(vocabulary: usize) -> Value {
    json!({
        "architectures": ["DebertaV2ForSequenceClassification"],
        "attention_probs_dropout_prob": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 64,
        "initializer_range": 0.1,
        "intermediate_size": 256,
        "layer_norm_eps": 1e-7,
        "max_position_embeddings": 256,
        "max_relative_positions": -1,
        "model_type": "deberta-v2",
        "norm_rel_ebd": "layer_norm",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "pooler_dropout": 0,
        "pooler_hidden_act": "gelu",
        "pooler_hidden_size": 64,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": false,
        "position_buckets": 32,
        "relative_attention": true,
        "share_att_key": true,
        "type_vocab_size": 0,
        "vocab_size": vocabulary,
    })
}
