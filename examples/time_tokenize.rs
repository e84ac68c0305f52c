//! Time this program from CSV to token ids: `cargo run --release --example time_tokenize -- CSV[.gz] TOKENIZER [LENGTH]`.
//!
//! Prints one JSON line, as `hf_tokenize.py` does; `scripts/compare/tokenize.sh` compares the two.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use pipe_ml::text::data::declare::spec::{Format, Purpose, Source};
use pipe_ml::text::data::{Spec, preprocess, tokenize};
use pipe_ml::watch::Silent;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let csv = arguments.next().context("give a CSV file of COVID-19 tweets")?;
    let tokenizer = arguments.next().context("give a tokenizer folder")?;
    let length = match arguments.next() {
        Some(length) => length.to_string_lossy().parse().context("LENGTH is not a number")?,
        None => 200,
    };
    let start = Instant::now();
    let spec = Spec::new(vec![Source::new(csv, Format::Covid19, Purpose::Train)]);
    let corpus = preprocess(&spec, 42, Path::new(""), &Silent)?;
    let read = Instant::now();
    let (tokens, report) = tokenize(&corpus, &tokenizer, length, &Silent)?;
    let (cleaning, encoding) = (read - start, read.elapsed());
    let rows = corpus.report.rows;
    let rate = |seconds: f64| (rows as f64 / seconds).round();
    let line = serde_json::json!({
        "peer": "pipe",
        "rows": rows,
        "kept": tokens.train.len() + tokens.validation.len(),
        "procs": rayon::current_num_threads(),
        "read_clean_rows_per_s": rate(cleaning.as_secs_f64()),
        "tokenize_rows_per_s": rate(encoding.as_secs_f64()),
        "total_s": (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        "mean_tokens": report.train.mean,
        "truncated": report.train.truncated,
    });
    println!("{line}");
    Ok(())
}
