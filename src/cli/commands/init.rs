//! `pipe init`: write a starter pipeline file.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::error::Error;

/// Write a starter pipeline file.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// Where to write it; an existing file is not overwritten.
    #[arg(default_value = "pipeline.toml")]
    file: PathBuf,
}

const STARTER: &str = include_str!("starter.toml");

impl Init {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        write_new(&self.file)?;
        let file = self.file.display();
        cx.print(&format!(
            "wrote {file}: put labelled texts into data/train.csv and data/test.csv, then `pipe run {file}`\n"
        ))
    }
}

fn write_new(file: &Path) -> Result<(), Error> {
    let cannot = |e: std::io::Error| Error::failed(format!("cannot write {}: {e}", file.display()));
    if let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(cannot)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(mut out) => out.write_all(starter(file).as_bytes()).map_err(cannot),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            Err(Error::usage(format!("{} already exists", file.display()))
                .help("choose another file: `pipe init FILE`"))
        }
        Err(e) => Err(cannot(e)),
    }
}

/// The starter with the pipeline named after its file; characters that could end a string or leave a folder are
/// replaced.
fn starter(file: &Path) -> String {
    let stem = file.file_stem().map_or_else(|| "pipeline".into(), |s| s.to_string_lossy().into_owned());
    let name: String = stem.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '-' }).collect();
    STARTER.replace("NAME", &name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::KINDS;
    use pipe_engine::declare::resolve::resolve;
    use pipe_engine::text::diagnostic::Source;

    #[test]
    fn the_starter_is_a_valid_pipeline_in_every_profile() {
        let source = Source::new("my.pipeline.toml", starter(Path::new("a b/my.pipeline.toml")));
        for profile in [None, Some("quick")] {
            let pipeline = resolve(&source, profile, &[], KINDS).unwrap_or_else(|e| panic!("{:#?}", e.0));
            assert_eq!(pipeline.name, "my-pipeline");
            assert_eq!(pipeline.instances.len(), 9);
        }
    }

    #[test]
    fn a_file_that_is_there_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/folder/p.toml");
        write_new(&file).unwrap();
        assert!(fs::read_to_string(&file).unwrap().contains("name = \"p\""));
        fs::write(&file, "mine").unwrap();
        assert_eq!(write_new(&file).unwrap_err().exit_code(), 2);
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }
}
