//! Turns a corpus into token ids.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::other_names;
use super::shared::types::{CORPUS, TOKENS};
use super::shared::watched::{Watched, finished};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{External, FromReaders, Invalid, Port, Stage, What};
use pipe_engine::text::other_names::OtherName;
use pipe_ml::text::data::Corpus;
use pipe_ml::text::data::tokenize::tokenize;
use pipe_ml::text::tokenizer;
use pipe_ml::text::tokenizer::Limit;
use pipe_ml::text::tokenizer::learn::{Learn, SMALLEST};

/// Turns texts into token ids with the tokenizer of a model.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tokenize {
    /// The most tokens per row, including special tokens; longer texts are cut at the end, or at the beginning if the
    /// tokenizer says so (`truncation_side`). Of a pair of texts, the longer one is cut first. Models trained on these tokens keep it as `model_max_length`.
    max_length: usize,
    /// Folder with the tokenizer's files, or `hf:OWNER/NAME@REVISION`: usually the base model's. `"base"` takes the `base`
    /// (of `distill` the `student`) of the stages that read the tokens, so that both change together. The files are
    /// `tokenizer.json`, or `vocab.json` with `merges.txt` (RoBERTa), `spm.model` (DeBERTa), `sentencepiece.bpe.model`
    /// (XLM-R) or `vocab.txt` (BERT).
    #[serde(default)]
    tokenizer: Option<String>,
    /// Learn a byte-level BPE with this many tokens from the training rows instead, for a model trained from scratch.
    #[serde(default)]
    learn: Option<usize>,
}

/// Every file that decides what a folder's tokenizer does: `config.json` names its class if `tokenizer_config.json` does not.
const READ: [&str; tokenizer::FILES.len() + 1] = {
    let mut all = ["config.json"; tokenizer::FILES.len() + 1];
    let mut at = 0;
    while at < tokenizer::FILES.len() {
        all[at] = tokenizer::FILES[at];
        at += 1;
    }
    all
};

impl Stage for Tokenize {
    const KIND: &'static str = "tokenize";
    // 2: writes a `tokenizer.json` if the folder has none.
    // 3: says how texts were cleaned; writes `model_max_length` and no truncation or padding; settings of
    // tokenizer_config.json that transformers applies.
    const VERSION: u32 = 3;
    const OTHER_NAMES: &'static [OtherName] = other_names::TOKENIZE;
    const MAIN: Option<&'static str> = Some("max-length");
    const INPUTS: &'static [Port] = &[Port::one("corpus", CORPUS)];
    const OUTPUTS: &'static [Port] = &[Port::one("tokens", TOKENS)];
    const FROM_READERS: &'static [FromReaders] =
        &[FromReaders { key: "tokenizer", word: "base", of: &[("tokens", "base"), ("tokens", "student")] }];

    fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        if self.max_length < 3 {
            let message = format!("max-length is {}; a row needs at least 3 tokens", self.max_length);
            wrong.push(Invalid::new("max-length", message));
        }
        match (&self.tokenizer, self.learn) {
            (None, None) => {
                wrong.push(Invalid::new("tokenizer", "`tokenize` needs a `tokenizer`").help(
                    "set it to \"base\" or to the base model's folder, or set `learn = 8000` to learn one from the training rows",
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
        let what = What::Files(&READ);
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
                let texts = corpus.train.iter().flat_map(|row| std::iter::once(&row.text).chain(&row.pair));
                learn.write(texts.map(String::as_str), &out)?;
                tokenizer::limit(&out, self.max_length)?;
            }
            None => {
                let remarks = tokenizer::save(cx.external("tokenizer")?, &out, Limit::Rows(self.max_length))?;
                remarks.into_iter().for_each(|remark| cx.warn(remark));
            }
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
        if [&tokens.train, &tokens.validation, &tokens.test].into_iter().any(|split| split.highest_type() > 0) {
            tokenizer::name_types(&out)?;
        }
        tokens.write(&out)?;
        if let Some(cleaning) = &corpus.cleaning {
            cleaning.write(&out)?;
        }
        report.write(&out)
    }
}
