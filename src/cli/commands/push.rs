//! `pipe push`: store results in the archive.

use crate::cli::context::{Context, File};
use crate::cli::words::archive::{Options, targets, warn, were};
use crate::error::Error;
use crate::report::format;
use pipe_engine::judge::project::Project;
use pipe_engine::store::archive::client::{Client, Delivery, Wanted};

/// Store the results of a pipeline, or of some stages and what they need, in the archive.
#[derive(Debug, clap::Args)]
pub struct Push {
    #[command(flatten)]
    file: File,
    /// Push only these stages and what they need.
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    #[command(flatten)]
    archive: Options,
}

impl Push {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let mut project = cx.project(Some(&self.file.file))?;
        let client = self.archive.required(&mut project)?;
        if !client.writes() {
            return Err(Error::usage("the archive is read-only here: its mode is `read`")
                .help("give `--archive-mode read-write`, or change $PIPE_ARCHIVE_MODE"));
        }
        // Only the cache counts here.
        let project = Project { archive: None, ..project };
        let (mut stored, mut bytes, mut present, mut without) = (0, 0, 0, Vec::new());
        for target in targets(cx, &project, &self.file, &self.stages)? {
            let (Some(fingerprint), Some(_)) = (&target.fingerprint, &target.verdict.entry) else {
                without.push(target.stage);
                continue;
            };
            let wanted = Wanted { fingerprint, stage: Some(&target.stage) };
            match client.deliver(&project.cache, wanted).map_err(|e| cannot_write(&client, e))? {
                Delivery::Stored { bytes: new } => (stored, bytes) = (stored + 1, bytes + new),
                Delivery::Present | Delivery::Differs => present += 1,
                Delivery::Gone => without.push(target.stage),
            }
        }
        warn(&Project { archive: Some(client.clone()), ..project });
        let mut text =
            format!("pushed {} ({}) to {}", format::plural(stored, "result"), format::bytes(bytes), client.name());
        if present > 0 {
            text += &format!("; {} there already", were(present));
        }
        cx.print(&(text + "\n"))?;
        if without.is_empty() {
            return Ok(());
        }
        cx.print(&format!("no result yet: {}\n", without.join(", ")))
    }
}

fn cannot_write(client: &Client, error: impl std::fmt::Display) -> Error {
    Error::failed(format!("cannot write to the archive {}: {error}", client.name()))
}
