//! Turns a corpus into token ids.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::other_names;
use super::shared::types::{CORPUS, TOKENS};
use super::shared::watched::{Watched, finished};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{External, Invalid, Port, Stage, What};
use pipe_engine::text::other_names::OtherName;
use pipe_ml::text::data::Corpus;
use pipe_ml::text::data::tokenize::tokenize;
use pipe_ml::text::tokenizer;
use pipe_ml::text::tokenizer::learn::{Learn, SMALLEST};

/// Turns texts into token ids with the tokenizer of a model.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tokenize {
    /// The most tokens per row, including special tokens; longer texts are cut at the end.
    max_length: usize,
    /// Folder with the tokenizer's files, or `hf:OWNER/NAME@REVISION`: usually the base model's. The files are
    /// `tokenizer.json`, or `vocab.json` with `merges.txt` (RoBERTa), `spm.model` (DeBERTa), `sentencepiece.bpe.model`
    /// (XLM-R) or `vocab.txt` (BERT).
    #[serde(default)]
    tokenizer: Option<String>,
    /// Learn a byte-level BPE with this many tokens from the training rows instead, for a model trained from scratch.
    #[serde(default)]
    learn: Option<usize>,
}

impl Stage for Tokenize {
    const KIND: &'static str = "tokenize";
    // 2: writes a `tokenizer.json` if the folder has none.
    const VERSION: u32 = 2;
    const OTHER_NAMES: &'static [OtherName] = other_names::TOKENIZE;
    const MAIN: Option<&'static str> = Some("max-length");
    const INPUTS: &'static [Port] = &[Port::one("corpus", CORPUS)];
    const OUTPUTS: &'static [Port] = &[Port::one("tokens", TOKENS)];

    fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        if self.max_length < 3 {
            let message = format!("max-length is {}; a row needs at least 3 tokens", self.max_length);
            wrong.push(Invalid::new("max-length", message));
        }
        match (&self.tokenizer, self.learn) {
            (None, None) => {
                wrong.push(Invalid::new("tokenizer", "`tokenize` needs a `tokenizer`").help(
                    "set it to the base model's folder, or set `learn = 8000` to learn one from the training rows",
                ))
            }
            (Some(_), Some(_)) => {
                wrong.push(Invalid::new("learn", "`tokenizer` and `learn` are both set").help("keep one of the two"));
            }
            (None, Some(size)) if size <= SMALLEST => {
                wrong.push(Invalid::new("learn", format!("learn is {size}; it must be above {SMALLEST}")));
            }
            _ => {}
        }
        wrong
    }

    fn externals(&self) -> Vec<External> {
        let what = What::Files(&tokenizer::FILES);
        let external =
            |path: &String| External { name: "tokenizer".into(), key: "tokenizer", path: path.clone(), what };
        self.tokenizer.iter().map(external).collect()
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let corpus = Corpus::open(&cx.input("corpus")?.dir)?;
        let out = cx.output("tokens")?;
        match self.learn {
            Some(vocabulary) => {
                let learn = Learn { vocabulary, min_frequency: 2 };
                learn.write(corpus.train.iter().map(|row| row.text.as_str()), &out)?;
            }
            None => tokenizer::save(cx.external("tokenizer")?, &out)?,
        }
        let (tokens, report) = finished(tokenize(&corpus, &out, self.max_length, &Watched::new(cx)))?;
        for (name, lengths) in [("train", &report.train), ("validation", &report.validation), ("test", &report.test)] {
            if lengths.rows > 0 {
                cx.note(format!(
                    "{name}: mean {:.1}, median {}, p95 {}, p99 {}, max {} tokens; {} of {} rows truncated at {}",
                    lengths.mean,
                    lengths.median,
                    lengths.p95,
                    lengths.p99,
                    lengths.max,
                    lengths.truncated,
                    lengths.rows,
                    self.max_length
                ));
            }
        }
        cx.fact("tokens", (report.train.tokens + report.validation.tokens + report.test.tokens) as f64);
        cx.fact("truncated", (report.train.truncated + report.validation.truncated + report.test.truncated) as f64);
        tokens.write(&out)?;
        report.write(&out)
    }
}
