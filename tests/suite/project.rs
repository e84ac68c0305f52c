//! A project with a small corpus that trains in seconds, and the stages that most tests begin with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A project folder with a small corpus and every kind in one pipeline.
pub struct Project {
    pub temp: tempfile::TempDir,
}

/// The head of a pipeline, with its corpus and its tokens.
macro_rules! rows {
    () => {
        r#"
name = "small"
seed = 7
[stage.corpus]
use = "preprocess"
sources = [
  { path = "train.csv", format = "csv" },
  { path = "test.tsv", format = "tsv", split = "test", text = "words", label = "class" },
]
validation = 0.2
[stage.tokens]
use = "tokenize@32"
in.corpus = "corpus"
tokenizer = "tiny"
"#
    };
}

/// The beginning of every pipeline here.
pub const ROWS: &str = rows!();

/// A pipeline with every kind.
pub const PIPELINE: &str = concat!(
    rows!(),
    r#"[stage.teacher]
use = "train"
in.tokens = "tokens"
base = "tiny"
epochs = 2
learning-rate = 2e-3
[stage.adapted]
use = "lora@4"
in.tokens = "tokens"
base = "tiny"
epochs = 1
[stage.pruned]
use = "prune@0.3"
in.model = "teacher"
[stage.int8]
use = "quantize@int8"
in.model = "teacher"
[stage.student]
use = "distill"
in.teacher = "teacher"
in.tokens = "tokens"
epochs = 1
[stage.scores]
use = "evaluate"
in.model = ["teacher", "adapted", "pruned", "int8", "student"]
in.tokens = "tokens"
speed-seconds = 0
[stage.comparison]
use = "compare"
in.metrics = "scores"
export = "out"
"#
);

/// `ROWS`, and a model `teacher` that is trained for this many epochs.
pub fn trained(epochs: u32) -> String {
    format!(
        "{ROWS}[stage.teacher]\nuse = \"train\"\nin.tokens = \"tokens\"\nbase = \"tiny\"\nepochs = {epochs}\n\
         learning-rate = 2e-3\n"
    )
}

/// A stage `scores` that scores these models.
pub fn scored(models: &[&str]) -> String {
    format!("[stage.scores]\nuse = \"evaluate\"\nin.model = {models:?}\nin.tokens = \"tokens\"\nspeed-seconds = 0\n")
}

impl Project {
    pub fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let project = Self { temp };
        fs::create_dir(project.path("cache")).unwrap();
        project.write("p.toml", PIPELINE);
        project.write("train.csv", &Self::csv(160));
        let test: String = (0..40).map(|i| format!("{}\t{}\n", Self::text(i + 1000), Self::label(i + 1000))).collect();
        project.write("test.tsv", &format!("words\tclass\n{test}"));
        let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-roberta");
        fs::create_dir(project.path("tiny")).unwrap();
        for file in fs::read_dir(bundled).unwrap() {
            let file = file.unwrap().path();
            fs::copy(&file, project.path("tiny").join(file.file_name().unwrap())).unwrap();
        }
        project
    }

    fn text(i: usize) -> String {
        let things = ["store", "queue", "bread", "driver", "price", "mask", "market"];
        let moods = ["great", "awful", "good", "bad", "lovely", "nasty"];
        format!("the {} was {} on day {i}", things[i % things.len()], moods[i % moods.len()])
    }

    fn label(i: usize) -> &'static str {
        if i.is_multiple_of(2) { "happy" } else { "cross" }
    }

    pub fn csv(rows: usize) -> String {
        let rows: String = (0..rows).map(|i| format!("\"{}\",{}\n", Self::text(i), Self::label(i))).collect();
        format!("text,label\n{rows}")
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.temp.path().join(below)
    }

    pub fn write(&self, below: &str, text: &str) {
        fs::write(self.path(below), text).unwrap();
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipe"));
        command.current_dir(self.temp.path()).args(words).stdin(Stdio::null());
        command
            .env_remove("PIPE_CACHE")
            .env("NO_COLOR", "1")
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", self.path("hub"));
        command
    }

    pub fn pipe(&self, words: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(words).output().unwrap();
        (status.code().unwrap_or(-1), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    /// Run successfully; returns the stages that ran.
    pub fn run(&self, words: &[&str]) -> Vec<String> {
        let (code, _, stderr) = self.pipe(&[&["run", "p.toml"], words].concat());
        assert_eq!(code, 0, "{stderr}");
        let mut ran: Vec<String> = stderr
            .lines()
            .filter_map(|l| l.strip_prefix("done ")?.split_whitespace().next().map(str::to_string))
            .collect();
        ran.sort();
        ran
    }

    /// Run a pipeline successfully; returns what it says.
    pub fn run_file(&self, file: &str) -> String {
        let (code, _, err) = self.pipe(&["run", file]);
        assert_eq!(code, 0, "{err}");
        err
    }

    /// What a stage that fails says.
    pub fn failure(&self, stage: &str) -> String {
        let (code, _, err) = self.pipe(&["run", "p.toml", stage]);
        assert_eq!(code, 1, "{err}");
        assert!(!err.contains("panicked"), "{err}");
        err
    }

    /// The folders of a stage's outputs.
    pub fn folders(&self, file: &str, stage: &str) -> Vec<PathBuf> {
        let (code, out, err) = self.pipe(&["cache", "path", file, stage]);
        assert_eq!(code, 0, "{err}");
        out.lines().map(PathBuf::from).collect()
    }

    /// The folder of a stage's only or first output.
    pub fn folder(&self, file: &str, stage: &str) -> PathBuf {
        self.folders(file, stage).remove(0)
    }

    /// The metrics of a stage that scores one model.
    pub fn metrics(&self, stage: &str) -> serde_json::Value {
        let files = self.folders("p.toml", stage).into_iter().map(|dir| dir.join("metrics.json"));
        let file = files.into_iter().find(|file| file.is_file()).unwrap();
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    }

    /// Content digests of a stage's outputs, from its entry.
    pub fn digest(&self, stage: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for dir in self.folders("p.toml", stage) {
            for file in fs::read_dir(dir).unwrap() {
                let path = file.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                all.push((name, blake3::hash(&fs::read(path).unwrap()).to_hex().to_string()));
            }
        }
        all.sort();
        all
    }
}
