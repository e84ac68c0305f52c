//! Converts a model folder to `model.onnx` and `config.json`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::file;
use super::file::LARGEST;
use super::graph::Graph;
use super::precision::Precision;
use crate::files::weights;
use crate::files::weights::{Weights, write_whole};
use crate::model::{Config, Match};

/// The file name that Optimum expects.
pub const MODEL: &str = "model.onnx";

/// The result of a conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Names of the files with the graph and its weights.
    pub files: Vec<String>,
    /// Size of the model's weight files in bytes.
    pub bytes_before: u64,
    /// Size of `files` in bytes.
    pub bytes_after: u64,
}

/// Reads the model folder `from` and writes `model.onnx` and `config.json` into `to`.
///
/// The graph takes `input_ids` and `attention_mask`, 64-bit integers `[batch, sequence]` with sequences of up to
/// [`Config::max_length`] tokens, and returns `logits` `[batch, labels]` as f32. The weights of a model of more than 2 GB go to
/// `model.onnx_data`, which must stay in the same folder.
pub fn convert(from: &Path, to: &Path, precision: Precision) -> Result<Converted> {
    convert_within(from, to, precision, LARGEST)
}

/// Like [`convert`], with another limit for the size of a file in bytes.
pub(super) fn convert_within(from: &Path, to: &Path, precision: Precision, limit: u64) -> Result<Converted> {
    let config = Config::open(from)?;
    ensure!(
        config.field("quantization_config").is_none_or(|value| value.is_null()),
        "the model in {} is quantized already; convert the model it was made from, with precision = \"int8\" for integers",
        from.display()
    );
    let weights = Weights::open(from)?
        .with_context(|| format!("model folder {} has no weights to convert; train the model first", from.display()))?;
    let sources =
        Match::whole(&config, &weights).with_context(|| format!("converting the model in {}", from.display()))?;
    let mut graph = Graph::new(precision);
    graph.classifier(&config);
    let paths = file::write(&to.join(MODEL), &graph, &sources, limit)?;
    let mut json = config.to_json();
    if precision == Precision::F16 {
        json["dtype"] = json!("float16");
    }
    write_whole(&to.join("config.json"), serde_json::to_string_pretty(&json)?.as_bytes())?;
    let size = |path: &Path| -> Result<u64> {
        Ok(fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len())
    };
    Ok(Converted {
        bytes_before: weights::files(from)?.iter().map(|file| size(file)).sum::<Result<u64>>()?,
        bytes_after: paths.iter().map(|file| size(file)).sum::<Result<u64>>()?,
        files: paths.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect(),
    })
}
