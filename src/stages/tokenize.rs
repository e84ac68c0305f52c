//! Turn a corpus into token ids.

use anyhow::Context as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{CORPUS, TOKENS};
use super::watched::{Watched, finished};
use crate::engine::kind::{Context, External, Invalid, Port, Stage, What};
use crate::ml::data::Corpus;
use crate::ml::data::tokenize::tokenize;
use crate::ml::tokenizer;

/// Turns texts into token ids with the tokenizer of a model.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tokenize {
    /// Longest row in tokens, special tokens included; longer texts lose their end.
    max_length: usize,
    /// Folder with the tokenizer's files, or `hf:OWNER/NAME@REVISION`: the base model's.
    tokenizer: String,
}

impl Stage for Tokenize {
    const KIND: &'static str = "tokenize";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("max-length");
    const INPUTS: &'static [Port] = &[Port::one("corpus", CORPUS)];
    const OUTPUTS: &'static [Port] = &[Port::one("tokens", TOKENS)];

    fn check(&self) -> Vec<Invalid> {
        let too_short = self.max_length < 3;
        too_short.then(|| Invalid::new("max-length", format!("max-length is {}; a row needs at least 3 tokens", self.max_length))).into_iter().collect()
    }

    fn externals(&self) -> Vec<External> {
        let what = What::Files(&tokenizer::FILES);
        vec![External { name: "tokenizer".into(), key: "tokenizer", path: self.tokenizer.clone(), what }]
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let corpus = Corpus::open(&cx.input("corpus")?.dir)?;
        let dir = cx.external("tokenizer")?.to_path_buf();
        let (tokens, report) = finished(tokenize(&corpus, &dir, self.max_length, &Watched::new(cx)))?;
        for (name, lengths) in [("train", &report.train), ("validation", &report.validation), ("test", &report.test)] {
            if lengths.rows > 0 {
                cx.note(format!(
                    "{name}: mean {:.1}, median {}, p95 {}, p99 {}, max {} tokens; {} of {} rows truncated at {}",
                    lengths.mean, lengths.median, lengths.p95, lengths.p99, lengths.max, lengths.truncated, lengths.rows, self.max_length
                ));
            }
        }
        cx.fact("tokens", (report.train.tokens + report.validation.tokens + report.test.tokens) as f64);
        cx.fact("truncated", (report.train.truncated + report.validation.truncated + report.test.truncated) as f64);
        let out = cx.output("tokens")?;
        tokens.write(&out)?;
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(out.join("lengths.json"), text).with_context(|| format!("cannot write {}", out.join("lengths.json").display()))?;
        tokenizer::copy_files(&dir, &out)
    }
}
