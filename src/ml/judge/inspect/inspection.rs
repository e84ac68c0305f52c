//! Describes a model folder, an adapter folder or a weight file without loading a model.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use crate::files::pointer;
use crate::files::weights;
use crate::files::weights::Weights;
use crate::files::weights::stored::Stored;
use crate::model::adapter::LoraConfig;
use crate::model::config::Config;
use crate::model::part::place;
use crate::model::peft;
use crate::model::{Model, shortened};
use crate::text::tokenizer;
use crate::text::tokenizer::Tokenizer;

/// What a path holds, judged by its file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A folder in the Hugging Face layout, with or without weights.
    Model,
    /// A folder in the PEFT layout.
    Adapter,
    /// A file of tensors, or the index of several such files.
    Weights,
    /// A `config.json` by itself.
    Config,
    /// A tokenizer file.
    Tokenizer,
}

impl What {
    /// `None` if the path does not look like any of these.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            let has = |name: &str| path.join(name).is_file();
            let weights = [weights::SINGLE, weights::INDEX, weights::PICKLE, weights::PICKLE_INDEX];
            return if has(peft::CONFIG) || has(peft::WEIGHTS) || has(peft::PICKLE) {
                Some(What::Adapter)
            } else if has("config.json") || weights.iter().any(|name| has(name)) {
                Some(What::Model)
            } else if !tokenizer::files(path).is_empty() {
                Some(What::Tokenizer)
            } else {
                None
            };
        }
        match name {
            "config.json" => Some(What::Config),
            _ if tokenizer::FILES.contains(&name) => Some(What::Tokenizer),
            _ if [".safetensors", ".bin", ".index.json"].iter().any(|end| name.ends_with(end)) => Some(What::Weights),
            _ => None,
        }
    }
}

/// How much to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Only the headers of the files.
    Headers,
    /// Every weight, to count the zeros.
    Weights,
}

/// Everything that `inspect` reports about a path.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    pub what: What,
    /// `model_type` of the config.
    pub family: Option<String>,
    pub architecture: Option<String>,
    pub sizes: Option<Sizes>,
    /// In the order of the logits.
    pub labels: Vec<String>,
    pub tokenizer: Option<Vocabulary>,
    pub adapter: Option<Adapter>,
    pub files: Vec<WeightFile>,
    pub parameters: Parameters,
    /// Size of the weight files.
    pub bytes: u64,
    /// By part, in the order of the forward pass.
    pub tensors: Vec<Tensor>,
    /// Problems that loading the model would report.
    pub notes: Vec<String>,
}

/// The model's sizes according to its config.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sizes {
    pub layers: usize,
    pub hidden: usize,
    pub vocabulary: usize,
    /// The longest sequence in tokens, special tokens included.
    pub max_length: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Vocabulary {
    pub files: Vec<String>,
    /// Number of distinct ids, added tokens included.
    pub ids: usize,
    pub pad_id: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Adapter {
    /// `base_model_name_or_path`.
    pub base: Option<String>,
    pub rank: usize,
    pub alpha: f64,
    /// The factor of `B·A`: alpha / rank, or alpha / √rank with rsLoRA.
    pub scale: f64,
    pub dropout: f64,
    /// Names of modules, or a single pattern that matches their names.
    pub targets: Vec<String>,
    pub modules_to_save: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WeightFile {
    pub name: String,
    pub bytes: u64,
}

/// Numbers of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Parameters {
    /// Number in the files; without weights, in a model of this config.
    pub total: u64,
    /// Parameters that training changes: those of a classifier of this config, or all of an adapter. `None` if the
    /// family is unknown.
    pub trainable: Option<u64>,
    /// `None` if they were not counted.
    pub non_zero: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tensor {
    pub name: String,
    /// `embeddings`, `layer`, `encoder` or `head`.
    pub part: &'static str,
    pub layer: Option<usize>,
    /// The name within its part.
    pub within: String,
    pub shape: Vec<usize>,
    /// `None` if there is no weight file.
    pub dtype: Option<String>,
    pub parameters: u64,
    pub bytes: Option<u64>,
    pub zeros: Option<u64>,
}

/// Inspect `path`, which holds `what`.
pub fn inspect(path: &Path, what: What, depth: Depth) -> Result<Inspection> {
    let mut found = Inspection::empty(what);
    match what {
        What::Model => {
            let config = found.read_config(&path.join("config.json"))?;
            found.read_tokenizer(path);
            match Weights::open(path)? {
                Some(weights) => {
                    found.list_files(&weights::files(path)?)?;
                    found.read_weights(&weights, depth)?;
                    found.judge_fit(&weights, config.as_ref());
                }
                None => {
                    found.note(format!("{} has no weights; training would start from random ones", path.display()));
                    found.outline(config.as_ref());
                }
            }
            found.judge_tokenizer(path, config.as_ref());
        }
        What::Adapter => {
            let config = path.join(peft::CONFIG);
            match peft::read_config(&config) {
                Ok(read) => found.adapter = Some(Adapter::of(read, &config)?),
                Err(error) => found.note(format!("{error:#}")),
            }
            found.read_tokenizer(path);
            found.read_file(&peft::weights(path)?, depth)?;
            found.parameters.trainable = Some(found.parameters.total);
        }
        What::Weights => found.read_file(path, depth)?,
        What::Config => {
            let config = found.read_config(path)?;
            found.outline(config.as_ref());
        }
        What::Tokenizer => {
            let dir = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
            // There is nothing else to show here, so a problem with the tokenizer is the error.
            let (vocabulary, remarks) = Vocabulary::open(dir)?;
            found.tokenizer = Some(vocabulary);
            found.notes.extend(remarks);
        }
    }
    Ok(found)
}

impl Adapter {
    fn of(config: LoraConfig, path: &Path) -> Result<Self> {
        let base = json(path)?["base_model_name_or_path"].as_str().map(str::to_owned);
        let targets = match config.targets.to_json() {
            Value::Array(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            pattern => pattern.as_str().map(str::to_owned).into_iter().collect(),
        };
        Ok(Self {
            base: base.filter(|base| !base.is_empty()),
            rank: config.rank,
            alpha: config.alpha,
            scale: config.scale(),
            dropout: config.dropout,
            targets,
            modules_to_save: config.modules_to_save,
        })
    }
}

impl Vocabulary {
    /// The tokenizer of a folder, and the contradictions between its files.
    fn open(dir: &Path) -> Result<(Self, Vec<String>)> {
        let tokenizer = Tokenizer::open(dir)?;
        let files = tokenizer::files(dir);
        let names = files.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
        let remarks = tokenizer.remarks().to_vec();
        Ok((Self { files: names.collect(), ids: tokenizer.vocabulary(), pad_id: tokenizer.pad_id() }, remarks))
    }
}

pub(super) fn json(path: &Path) -> Result<Value> {
    serde_json::from_slice(&pointer::read(path)?).with_context(|| format!("{} is not valid JSON", path.display()))
}

impl Inspection {
    fn empty(what: What) -> Self {
        Self {
            what,
            family: None,
            architecture: None,
            sizes: None,
            labels: Vec::new(),
            tokenizer: None,
            adapter: None,
            files: Vec::new(),
            parameters: Parameters { total: 0, trainable: None, non_zero: None },
            bytes: 0,
            tensors: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Read the facts that the config gives. A config that `pipe` does not support causes a note, not an error.
    fn read_config(&mut self, path: &Path) -> Result<Option<Config>> {
        if !path.is_file() {
            self.note(
                "there is no config.json, so the family is unknown and the weights cannot be checked for \
                 completeness",
            );
            return Ok(None);
        }
        let value = json(path)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.family = text(&value["model_type"]);
        self.architecture = text(&value["architectures"][0]);
        match Config::parse(&value.to_string()) {
            Ok(config) => {
                self.labels = config.labels().to_vec();
                self.sizes = Some(Sizes {
                    layers: config.layers(),
                    hidden: config.hidden_size(),
                    vocabulary: config.vocab_size(),
                    max_length: config.max_length(),
                });
                if !config.unknown().is_empty() {
                    let unknown = shortened(config.unknown());
                    self.note(format!("config.json has unknown fields, which have no effect: {unknown}"));
                }
                let outline = Model::outline(&config);
                self.parameters.trainable = Some(outline.iter().map(|named| named.size() as u64).sum());
                Ok(Some(config))
            }
            Err(error) => {
                self.note(format!("cannot use config.json: {error:#}"));
                Ok(None)
            }
        }
    }

    fn read_tokenizer(&mut self, dir: &Path) {
        if tokenizer::files(dir).is_empty() {
            return;
        }
        match Vocabulary::open(dir) {
            Ok((vocabulary, remarks)) => {
                self.tokenizer = Some(vocabulary);
                self.notes.extend(remarks);
            }
            Err(error) => self.note(format!("{error:#}")),
        }
    }

    /// List the tensors that a model of this config has.
    fn outline(&mut self, config: Option<&Config>) {
        let outline = config.map(Model::outline).unwrap_or_default();
        self.tensors = outline.iter().map(|named| Tensor::at(&named.name, &named.shape, named.size() as u64)).collect();
        self.finish();
    }

    /// Read a file of tensors, or the index of several such files.
    fn read_file(&mut self, path: &Path, depth: Depth) -> Result<()> {
        self.list_files(&weights::files_at(path)?)?;
        self.read_weights(&Weights::at(path)?, depth)
    }

    fn list_files(&mut self, files: &[PathBuf]) -> Result<()> {
        for file in files {
            let bytes = std::fs::metadata(file).with_context(|| format!("reading {}", file.display()))?.len();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.files.push(WeightFile { name, bytes });
            self.bytes += bytes;
        }
        Ok(())
    }

    fn read_weights(&mut self, weights: &Weights, depth: Depth) -> Result<()> {
        for (name, stored) in &weights.tensors {
            let parameters = if stored.is_parameter() { stored.size() as u64 } else { 0 };
            let mut tensor = Tensor::at(name, &stored.shape, parameters);
            tensor.dtype = Some(stored.type_name());
            tensor.bytes = Some(stored.bytes_with_scales());
            if depth == Depth::Weights && stored.is_parameter() {
                let (zeros, strange) =
                    count(stored).with_context(|| format!("reading {}: tensor {name}", stored.path().display()))?;
                tensor.zeros = Some(zeros);
                if strange > 0 {
                    self.note(format!("{name} has NaN or infinite values: {strange} of {parameters}"));
                }
            }
            self.tensors.push(tensor);
        }
        self.finish();
        if depth == Depth::Weights {
            let zeros: u64 = self.tensors.iter().filter_map(|tensor| tensor.zeros).sum();
            self.parameters.non_zero = Some(self.parameters.total - zeros);
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.tensors.sort_by(|a, b| (place(&a.name).part, &a.name).cmp(&(place(&b.name).part, &b.name)));
        self.parameters.total = self.tensors.iter().map(|tensor| tensor.parameters).sum();
    }
}

impl Tensor {
    fn at(name: &str, shape: &[usize], parameters: u64) -> Self {
        let at = place(name);
        Self {
            name: name.to_owned(),
            part: at.part.kind(),
            layer: at.part.layer(),
            within: at.within.to_owned(),
            shape: shape.to_vec(),
            dtype: None,
            parameters,
            bytes: None,
            zeros: None,
        }
    }
}

/// Count the values that are zero, and those that are not finite.
fn count(stored: &Stored) -> Result<(u64, u64)> {
    let pieces = stored.pieces()?;
    let count = |at| {
        let values = pieces.read(at)?;
        let zeros = values.iter().filter(|v| **v == 0.0).count() as u64;
        Ok((zeros, values.iter().filter(|v| !v.is_finite()).count() as u64))
    };
    let both = |a: (u64, u64), b: (u64, u64)| Ok((a.0 + b.0, a.1 + b.1));
    (0..pieces.count()).into_par_iter().map(count).try_reduce(|| (0, 0), both)
}
