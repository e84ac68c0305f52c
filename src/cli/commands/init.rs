//! `pipe init`: write a starter pipeline file, also for data files that it looks at.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::error::Error;
use crate::stages::shared::starter::Starter;
use pipe_engine::judge::project::Project;

/// Write a starter pipeline file, also for data files.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// Data files to look at (`data/train.csv`), and where to write the pipeline: a name that ends in `.toml`, by default
    /// `pipeline.toml`. An existing pipeline is not overwritten.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write a pipeline that runs offline, with its data and its small model.
    #[arg(long)]
    sample: bool,
}

const STARTER: &str = include_str!("starter.toml");
const SAMPLE: &str = include_str!("sample.toml");

/// What `--sample` writes beside the pipeline.
const FILES: [(&str, &[u8]); 5] = [
    ("data/sample/train.csv", include_bytes!("../../../data/sample/train.csv")),
    ("data/sample/test.csv", include_bytes!("../../../data/sample/test.csv")),
    ("models/tiny-roberta/config.json", include_bytes!("../../../models/tiny-roberta/config.json")),
    ("models/tiny-roberta/tokenizer.json", include_bytes!("../../../models/tiny-roberta/tokenizer.json")),
    ("models/tiny-roberta/tokenizer_config.json", include_bytes!("../../../models/tiny-roberta/tokenizer_config.json")),
];

impl Init {
    pub fn run(self, cx: &mut Context<'_>) -> Result<(), Error> {
        let is_toml = |file: &Path| file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
        // A name without the ending is a pipeline too, unless it is a file that is there or has the name of data.
        let is_pipeline = |file: &PathBuf| is_toml(file) || (!file.exists() && file.extension().is_none());
        let (pipelines, data): (Vec<PathBuf>, Vec<PathBuf>) = self.files.into_iter().partition(is_pipeline);
        let file = match pipelines.as_slice() {
            [] => PathBuf::from("pipeline.toml"),
            [one] => one.clone(),
            [_, second, ..] => {
                return Err(Error::usage(format!("one pipeline is written; {} is a second", second.display())));
            }
        };
        if self.sample && !data.is_empty() {
            return Err(Error::usage("--sample has its own data").help("leave out --sample, or the data files"));
        }
        if file.exists() {
            return Err(exists(&file));
        }
        let shown = file.display();
        let root = Project::root_of(&file);
        if self.sample {
            for (name, bytes) in FILES {
                write_same(&root.join(name), bytes)?;
            }
            write_new(&file, named(SAMPLE, &file).as_bytes())?;
            return cx
                .print(&format!("wrote {shown}, data/sample and models/tiny-roberta; next: `pipe run {shown}`\n"));
        }
        if data.is_empty() {
            write_new(&file, named(STARTER, &file).as_bytes())?;
            return cx.print(&format!(
                "wrote {shown}: put labelled texts into data/train.csv and data/test.csv, then `pipe run {shown}`; \
                 `pipe init DATA` looks at a file\n"
            ));
        }
        let starter = Starter::of(&data, &root).map_err(|error| Error::failed(format!("{error:#}")))?;
        write_new(&file, named(&with_data(&starter), &file).as_bytes())?;
        let mut text: String = starter.lines.iter().map(|line| format!("{line}\n")).collect();
        starter.warnings.iter().for_each(|warning| text.push_str(&format!("warning: {warning}\n")));
        text.push_str(&format!(
            "wrote {shown}; next: `pipe run {shown} --profile quick` tries it on a few rows, `pipe run {shown}` runs it\n"
        ));
        cx.print(&text)
    }
}

/// The starter with what was found instead of its examples.
fn with_data(starter: &Starter) -> String {
    let list = |sources: &[String]| sources.iter().map(|source| format!("  {source},\n")).collect::<String>();
    let mut text = String::new();
    let mut in_sources = None;
    for line in STARTER.lines() {
        if line.starts_with("sources = [") {
            let of_profile = in_sources.is_some();
            text.push_str("sources = [\n");
            text.push_str(&list(if of_profile { &starter.few } else { &starter.sources }));
            in_sources = Some(true);
        } else if line == "]" && in_sources == Some(true) {
            in_sources = Some(false);
            text.push_str("]\n");
        } else if in_sources == Some(true) {
            continue;
        } else if line.starts_with("validation = ") {
            text.push_str(&starter.parameters.iter().map(|line| format!("{line}\n")).collect::<String>());
        } else if line.starts_with("use = \"tokenize@") {
            let length = starter.max_length;
            text.push_str(&format!("use = \"tokenize@{length}\" # at most {length} tokens per text\n"));
        } else if line.starts_with("use = \"evaluate\"") {
            text.push_str("use = \"evaluate\"\n");
            if let Some(split) = starter.scored.filter(|split| *split != "test") {
                text.push_str(&format!("split = \"{split}\" # there are no test rows yet\n"));
            }
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn exists(file: &Path) -> Error {
    Error::usage(format!("{} already exists", file.display())).help("choose another file: `pipe init FILE`")
}

fn cannot(file: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |e| Error::failed(format!("cannot write {}: {e}", file.display()))
}

/// Write a file unless it is there with this content.
fn write_same(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    match fs::read(file) {
        Ok(found) if found == bytes => Ok(()),
        Ok(_) => Err(Error::usage(format!("{} already exists and is another file", file.display()))
            .help("run `pipe init --sample` in a new folder")),
        Err(e) if e.kind() == ErrorKind::NotFound => write_new(file, bytes),
        Err(e) => Err(cannot(file)(e)),
    }
}

fn write_new(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(cannot(file))?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(mut out) => out.write_all(bytes).map_err(cannot(file)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(exists(file)),
        Err(e) => Err(cannot(file)(e)),
    }
}

/// A pipeline named after its file; characters that could end a string or leave a folder are replaced.
fn named(text: &str, file: &Path) -> String {
    let stem = file.file_stem().map_or_else(|| "pipeline".into(), |s| s.to_string_lossy().into_owned());
    let name: String = stem.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '-' }).collect();
    text.replace("NAME", &name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::KINDS;
    use pipe_engine::declare::resolve::{Pipeline, resolve};
    use pipe_engine::text::diagnostic::Source;

    fn resolved(text: String, profile: Option<&str>) -> Pipeline {
        let source = Source::new("my.pipeline.toml", text);
        resolve(&source, profile, &[], KINDS).unwrap_or_else(|e| panic!("{:#?}", e.0))
    }

    #[test]
    fn the_starters_are_valid_pipelines_in_every_profile() {
        let name = Path::new("a b/my.pipeline.toml");
        for (text, profile, instances) in [(STARTER, None, 9), (STARTER, Some("quick"), 9), (SAMPLE, None, 9)] {
            let pipeline = resolved(named(text, name), profile);
            assert_eq!(pipeline.name, "my-pipeline");
            assert_eq!(pipeline.instances.len(), instances);
        }
    }

    #[test]
    fn the_starter_for_data_is_valid_in_every_profile() {
        let dir = tempfile::tempdir().unwrap();
        let rows: String = (0..60).map(|n| format!("\"{n} <br /> words\",{}\n", ["up", "down"][n % 2])).collect();
        let write = |name: &str| {
            fs::write(dir.path().join(name), format!("review,mood\n{rows}")).unwrap();
            dir.path().join(name)
        };
        let one = Starter::of(&[write("all.csv")], dir.path()).unwrap();
        assert_eq!(one.sources, ["{ path = \"all.csv\", text = \"review\", label = \"mood\" }"]);
        assert_eq!(one.parameters, ["strip-html = true", "validation = 0.1 # of the training rows"]);
        let text = with_data(&one);
        assert!(text.contains("split = \"validation\" # there are no test rows yet\n"), "{text}");
        for profile in [None, Some("quick")] {
            assert_eq!(resolved(text.clone(), profile).instances.len(), 9);
        }
        let test = dir.path().join("my-test.csv");
        fs::write(&test, format!("review,mood\n{}", rows.replace("words", "other words"))).unwrap();
        let two = Starter::of(&[write("my-train.csv"), test], dir.path()).unwrap();
        assert!(two.sources[1].ends_with("split = \"test\" }"), "{:?}", two.sources);
        assert_eq!(resolved(with_data(&two), Some("quick")).instances.len(), 9);
    }

    #[test]
    fn a_file_that_is_there_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/folder/p.toml");
        write_new(&file, named(STARTER, &file).as_bytes()).unwrap();
        assert!(fs::read_to_string(&file).unwrap().contains("name = \"p\""));
        fs::write(&file, "mine").unwrap();
        assert_eq!(write_new(&file, b"other").unwrap_err().exit_code(), 2);
        assert_eq!(write_same(&file, b"other").unwrap_err().exit_code(), 2);
        assert!(write_same(&file, b"mine").is_ok());
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }
}
