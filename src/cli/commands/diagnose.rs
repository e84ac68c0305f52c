//! `pipe diagnose`: how far the weights of a model moved.

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::words::diagnosed::{Detail, csv, render};
use crate::cli::words::model::{Definition, Wanted, recognise};
use crate::error::Error;
use crate::stages::shared::inspector::{Diagnosis, diagnose};

/// Show how far the weights of each part moved from model A to model B.
///
/// Relative L2 is ‖b − a‖ / ‖a‖ over all weights of a part; below 1e-6 the part is shown as frozen. The models may be
/// stored as f32, f16, bf16 or int8, in one file or several. An adapter is merged into the other model before the
/// comparison.
#[derive(Debug, clap::Args)]
pub struct Diagnose {
    /// The model before training: a folder, a file of weights, FILE:STAGE, or hf:OWNER/NAME if that has been
    /// downloaded.
    a: String,
    /// The model after training; may also be an adapter folder.
    b: String,
    /// Show every tensor on its own line.
    #[arg(long, conflicts_with = "csv")]
    tensors: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print CSV with one line per tensor, for plots.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    definition: Definition,
}

const WANTED: Wanted = Wanted {
    types: &["model", "adapter"],
    help: "give a folder or file, FILE:STAGE such as `pipelines/roberta_full.toml:teacher`, or hf:OWNER/NAME",
};

/// Raise it when a field changes its meaning or is removed.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    a: &'a str,
    b: &'a str,
    #[serde(flatten)]
    diagnosis: &'a Diagnosis,
}

impl Diagnose {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let [a, b] = [&self.a, &self.b].map(|word| {
            let path = self.definition.find(cx, word, WANTED)?;
            recognise(&path)?;
            Ok::<_, Error>(path)
        });
        let diagnosis = diagnose(&a?, &b?)?;
        if self.json {
            return cx.print_json(&Report { version: VERSION, a: &self.a, b: &self.b, diagnosis: &diagnosis });
        }
        if self.csv {
            return cx.print(&csv(&diagnosis)?);
        }
        let detail = if self.tensors { Detail::Tensors } else { Detail::Parts };
        cx.print(&format!("{} → {}\n\n{}", self.a, self.b, render(&diagnosis, detail)))
    }
}
