//! Shows what a corpus looks like.

use std::path::Path;

use anyhow::{Context as _, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{document, pictures, tables};
use crate::stages::shared::types::{CORPUS, TABLE, TOKENS};
use crate::stages::shared::watched::{Watched, finished};
use pipe_engine::contract::ahead::Ahead;
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Invalid, Port, Stage};
use pipe_ml::compute::numbers::{rows, thousands};
use pipe_ml::text::data::{Corpus, Tokens};
use pipe_ml::text::explore::{Look, Options, look};
use pipe_ml::text::tokenizer::Tokenizer;

/// The most words a label that can be asked for.
const MOST_WORDS: usize = 1000;

/// Shows what a corpus looks like: labels, days, lengths, typical words, near-duplicates and leaks between splits. Writes
/// `explore.md` with pictures, `explore.json` with every number, and tables as CSV. With `in.tokens`, lengths in tokens
/// too, before any cut.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Explore {
    /// The share of common word triples (Jaccard similarity) from which on two texts are near-duplicates, above 0 and at
    /// most 1. Case, signs and links do not count.
    #[serde(default = "default_near")]
    near: f64,
    /// How many typical words a label has in the tables; the picture has the first ten.
    #[serde(default = "default_words")]
    words: usize,
    /// Words to leave out of the word cloud, beside English function words: `["coronavirus"]`.
    #[serde(default)]
    ignore: Vec<String>,
}

fn default_near() -> f64 {
    0.7
}

fn default_words() -> usize {
    20
}

impl Stage for Explore {
    const KIND: &'static str = "explore";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::one("corpus", CORPUS), Port::optional("tokens", TOKENS)];
    const OUTPUTS: &'static [Port] = &[Port::one("look", TABLE)];

    fn check(&self) -> Vec<Invalid> {
        let mut wrong = Vec::new();
        if !(self.near > 0.0 && self.near <= 1.0) {
            let message = format!("near is {}; it must be above 0 and at most 1", self.near);
            wrong.push(Invalid::new("near", message).help("0.7 finds texts that differ in a few words"));
        }
        if !(1..=MOST_WORDS).contains(&self.words) {
            wrong.push(Invalid::new("words", format!("words is {}; it must be 1 to {MOST_WORDS}", self.words)));
        }
        wrong
    }

    fn check_ahead(&self, stage: &Ahead) -> Vec<Invalid> {
        let (Some(corpus), Some(tokens)) = (stage.input("corpus"), stage.input("tokens")) else { return Vec::new() };
        let Some(of) = tokens.input("corpus").filter(|of| of.name() != corpus.name()) else { return Vec::new() };
        let message = format!("`{}` has the tokens of `{}`, not of `{}`", tokens.name(), of.name(), corpus.name());
        vec![Invalid::new("tokens", message).help(format!("set in.corpus = \"{}\", or wire other tokens", of.name()))]
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        let corpus = Corpus::open(&cx.input("corpus")?.dir)?;
        let tokens = match cx.inputs("tokens").first() {
            Some(input) => Some((Tokens::open(&input.dir)?, Tokenizer::open(&input.dir)?)),
            None => None,
        };
        let options = Options {
            near: self.near,
            words: self.words,
            ignore: &self.ignore,
            tokens: tokens.as_ref().map(|(tokens, tokenizer)| (tokens, tokenizer)),
        };
        let seen = finished(look(&corpus, &options, &Watched::new(cx)))?;
        report(&seen, cx);
        let out = cx.output("look")?;
        let pictures = pictures::all(&seen);
        for picture in &pictures {
            write(&out.join(picture.file), &picture.svg)?;
        }
        for (name, table) in tables::all(&seen, &corpus)? {
            write(&out.join(name), &table)?;
        }
        write(&out.join("explore.md"), &document::of(&seen, &pictures, &corpus))?;
        write(&out.join("explore.json"), &(serde_json::to_string_pretty(&seen)? + "\n"))
    }
}

/// Tell what matters most, and warn of what makes scores wrong.
fn report(seen: &Look, cx: &mut Context) {
    let (mut said, mut warnings) = (Vec::new(), Vec::new());
    let by_split = seen.splits.iter().map(|split| format!("{} {}", thousands(split.rows), split.name));
    said.push(format!("{}: {}", rows(seen.rows), by_split.collect::<Vec<_>>().join(", ")));
    cx.fact("rows", seen.rows as f64);
    for measured in &seen.lengths {
        let all = &measured.all;
        let mut line = format!(
            "{}: mean {:.1}, median {}, p95 {}, p99 {}, max {}",
            measured.unit, all.mean, all.median, all.p95, all.p99, all.max
        );
        if let Some(cut) = all.cut.iter().find(|cut| measured.unit == "tokens" && Some(cut.at) == seen.max_length) {
            line += &format!("; {:.2} % of the rows are cut at {}", 100.0 * cut.share, cut.at);
            cx.fact("share-cut", cut.share);
        }
        said.push(line);
    }
    if let Some(days) = &seen.days {
        said.push(format!("days: {} to {}", days.first, days.last));
    }
    let found = &seen.duplicates;
    if found.rows > 0 {
        said.push(format!(
            "near-duplicates: {} in {} groups (word triples in common: {} or more)",
            rows(found.rows),
            thousands(found.groups),
            found.threshold
        ));
    }
    cx.fact("near-duplicates", found.rows as f64);
    cx.fact("leaks", (found.train_leaks + found.validation_leaks) as f64);
    warnings.extend(leak(found.train_leaks, "training", "validation or test"));
    warnings.extend(leak(found.validation_leaks, "validation", "test"));
    for line in said {
        cx.note(&line);
        cx.keep(line);
    }
    for warning in warnings {
        cx.warn(&warning);
        cx.keep(format!("warning: {warning}"));
    }
}

fn leak(count: u64, from: &str, into: &str) -> Option<String> {
    let are = if count == 1 { "is" } else { "are" };
    let thing = if count == 1 { "row" } else { "rows" };
    (count > 0).then(|| {
        format!(
            "{} {from} {thing} {are} the same as a {into} row, or nearly: scores come out too good; `duplicates.csv` has them",
            thousands(count)
        )
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
