//! `pipe inspect`: what is in a model.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::context::Context;
use super::inspected::{Detail, render};
use super::model::{Definition, Wanted};
use crate::error::Error;
use crate::report::{format, secret};
use crate::stages::inspector::{Depth, Inspection, What, inspect};

/// Show what is in a model: family, labels, tokenizer, tensors, and what loading it would complain about.
///
/// Layers that are alike stand together, as in `encoder.layer.0–11`. Counting zeros reads every weight, in pieces; all else
/// comes from the headers of the files.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// A model folder, an adapter folder, a file of one of them (weights, config.json, tokenizer.json), FILE:STAGE for what a
    /// stage of a pipeline file made (FILE:STAGE.adapter for an adapter), or hf:OWNER/NAME where that has been downloaded.
    model: String,
    /// Every tensor on a line of its own.
    #[arg(long)]
    tensors: bool,
    /// Look at headers alone: zeros are not counted.
    #[arg(long)]
    headers: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    definition: Definition,
}

const WANTED: Wanted = Wanted {
    types: &["model", "adapter"],
    help: "give a folder or file, FILE:STAGE such as `pipelines/roberta_full.toml:teacher`, or hf:OWNER/NAME",
};

/// Reading for longer than this is worth a word on how to go without.
const LONG: Duration = Duration::from_secs(1);

/// Raised when a field changes its meaning or goes.
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
            let text = format!("{} read in {took}; --headers goes without\n", format::bytes(inspection.bytes));
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

/// What a path is; nothing of a model's is bad usage.
pub fn recognise(path: &Path) -> Result<What, Error> {
    What::of(path).ok_or_else(|| {
        let text = if path.is_dir() {
            format!("{} is no model: it has no config.json, no weights, no adapter and no tokenizer", path.display())
        } else {
            format!("{} is no file of a model's, by its name", path.display())
        };
        Error::usage(text).help("`pipe show FILE STAGE` and `pipe metrics` show what other artifacts hold")
    })
}
