//! Token ids of texts: `cargo run --release --example encode -- TOKENIZER TEXTS.jsonl [--time | --save FOLDER [LENGTH]]`.
//!
//! TEXTS has one JSON object with `text` per line; each line gives a line with its ids. With `--time` the output is one
//! JSON line with the rate instead; with `--save` the tokenizer's files are also written as the tokenize stage writes
//! them, and the ids are cut at LENGTH. `scripts/compare/tokens.py` and `scripts/check_tokenizers.py` compare both with the
//! Python libraries.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use pipe_ml::text::tokenizer::{Limit, Tokenizer, save};
use pipe_ml::watch::Silent;

/// Large enough that no text of a comparison is truncated.
const LENGTH: usize = 1_000_000;

// The same allocator as in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().context("give a tokenizer folder")?);
    let texts = PathBuf::from(arguments.next().context("give a JSON Lines file of texts")?);
    let option = arguments.next().map(|option| option.to_string_lossy().into_owned());
    let folder_to = arguments.next().map(PathBuf::from);
    let length = match arguments.next() {
        Some(length) => length.to_string_lossy().parse().context("LENGTH is not a number")?,
        None => LENGTH,
    };
    let start = Instant::now();
    let tokenizer = Tokenizer::open(&folder)?;
    let opened = start.elapsed().as_secs_f64();
    let file = std::fs::File::open(&texts).with_context(|| format!("cannot read {}", texts.display()))?;
    let mut rows: Vec<String> = Vec::new();
    for line in BufReader::new(file).lines() {
        let row: serde_json::Value = serde_json::from_str(&line?)?;
        rows.push(row["text"].as_str().context("a row has no `text`")?.to_owned());
    }
    let start = Instant::now();
    let encoded = tokenizer.encode_batch(&rows, length, &Silent)?;
    let seconds = start.elapsed().as_secs_f64();
    if option.as_deref() == Some("--time") {
        let rate = (rows.len() as f64 / seconds).round();
        let line = serde_json::json!({ "kind": tokenizer.kind(), "rows_per_s": rate, "open_s": opened });
        println!("{line}");
        return Ok(());
    }
    if option.as_deref() == Some("--save") {
        for remark in save(&folder, &folder_to.context("give a folder to save to")?, Limit::Rows(length))? {
            eprintln!("{remark}");
        }
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    for row in encoded {
        writeln!(out, "{}", serde_json::to_string(&row.ids)?)?;
    }
    Ok(())
}
