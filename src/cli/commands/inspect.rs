//! `pipe inspect`: show the content of a model.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::words::inspected::{Detail, render};
use crate::cli::words::model::{Definition, Wanted, recognise};
use crate::error::Error;
use crate::report::{format, secret};
use crate::stages::shared::inspector::{Depth, Inspection, inspect};

/// Show a model's family, labels, tokenizer and tensors, and the problems of loading it.
///
/// Consecutive layers of the same shape share lines, as in `encoder.layer.0–11`. Counting zeros reads every weight,
/// piece by piece; everything else comes from the headers of the files.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// A model folder, an adapter folder, a file of either (weights, config.json, tokenizer.json), FILE:STAGE for the
    /// output of a stage (FILE:STAGE.adapter for an adapter), or hf:OWNER/NAME if that has been downloaded.
    model: String,
    /// Show every tensor on its own line.
    #[arg(long)]
    tensors: bool,
    /// Read only the headers, without counting zeros.
    #[arg(long)]
    headers: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    definition: Definition,
}

const WANTED: Wanted = Wanted {
    types: &["model", "adapter"],
    help: "give a folder or file, FILE:STAGE such as `pipelines/roberta_full.toml:teacher`, or hf:OWNER/NAME",
};

/// If reading takes longer than this, print a hint how to avoid it.
const LONG: Duration = Duration::from_secs(1);

/// Raise it when a field changes its meaning or is removed.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    path: &'a Path,
    #[serde(flatten)]
    inspection: &'a Inspection,
}

impl Inspect {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let path = self.definition.find(cx, &self.model, WANTED)?;
        let what = recognise(&path)?;
        let begin = Instant::now();
        let depth = if self.headers { Depth::Headers } else { Depth::Weights };
        let inspection = inspect(&path, what, depth)?;
        if !self.headers && begin.elapsed() > LONG {
            let took = format::duration(begin.elapsed().as_secs_f64());
            let text =
                format!("read {} in {took}; use --headers to skip counting zeros\n", format::bytes(inspection.bytes));
            secret::write(&mut std::io::stderr(), &text).map_err(Error::Output)?;
        }
        if self.json {
            return cx.print_json(&Report { version: VERSION, path: &path, inspection: &inspection });
        }
        let detail = if self.tensors { Detail::Tensors } else { Detail::Parts };
        let text = render(&self.model, &inspection, detail, cx.color);
        cx.print(&text)
    }
}
