//! Shared code of the model benches: command line options, configs of published shapes, rows of tokens.

use std::collections::HashMap;

use anyhow::{Result, anyhow};
use pipe_ml::model::Config;
use pipe_ml::text::data::tokens::Split;

/// `--NAME VALUE` pairs.
pub struct Options(HashMap<String, String>);

impl Options {
    pub fn read() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
        let pairs = arguments.windows(2).filter(|pair| pair[0].starts_with("--"));
        Options(pairs.map(|pair| (pair[0][2..].to_owned(), pair[1].clone())).collect())
    }

    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.0.get(name).map_or(default, String::as_str)
    }

    pub fn given(&self, name: &str) -> Result<Option<usize>> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| anyhow!("--{name} is {text}; it must be a whole number"))
    }

    pub fn number(&self, name: &str, default: usize) -> Result<usize> {
        Ok(self.given(name)?.unwrap_or(default))
    }
}

/// Rows of random-looking tokens.
pub fn rows(batch: usize, length: usize) -> Split {
    let mut split = Split::default();
    for row in 0..batch {
        let ids: Vec<u32> = (0..length).map(|i| 5 + ((row * length + i) * 7919 % 50_000) as u32).collect();
        split.push(&ids, (row % 5) as u32, String::new());
    }
    split
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A model with five labels.
pub fn config(name: &str) -> Result<Config> {
    let (layers, hidden, heads) = match name {
        "roberta-mini" => (4, 256, 4),
        "roberta-base" | "deberta-v3-base" => (12, 768, 12),
        other => anyhow::bail!("unknown model {other}: roberta-mini, roberta-base or deberta-v3-base"),
    };
    let mut config = serde_json::json!({
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": 4 * hidden,
        "num_labels": 5,
    });
    let family = if name.starts_with("deberta") {
        serde_json::json!({
            "model_type": "deberta-v2", "vocab_size": 128100, "max_position_embeddings": 512, "relative_attention": true,
            "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": true, "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": false, "type_vocab_size": 0, "layer_norm_eps": 1e-7,
        })
    } else {
        serde_json::json!({
            "model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1,
            "pad_token_id": 1, "layer_norm_eps": 1e-5,
        })
    };
    for (field, value) in family.as_object().into_iter().flatten() {
        config[field] = value.clone();
    }
    Config::parse(&config.to_string())
}
