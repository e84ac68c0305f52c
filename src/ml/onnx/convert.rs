//! Converts a model folder to `model.onnx` and `config.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use serde_json::json;

use super::file;
use super::file::{LARGEST, Sources};
use super::graph::{Graph, Kept};
use super::precision::Precision;
use super::tensor::Type;
use crate::compress::quantize::{Calibration, Form, MeasuredLayer, measure_batches};
use crate::files::host::Layout;
use crate::files::weights;
use crate::files::weights::{Weights, write_whole};
use crate::model::names::WEIGHT;
use crate::model::{Config, Match, Model};
use crate::text::data::Cleaning;
use crate::watch::Watch;

/// What each layer keeps that integers would change too much. A weight that is too large for f16 stays f32.
fn kept(layers: &[MeasuredLayer], sources: &Sources) -> Result<BTreeMap<String, Kept>> {
    let keep = |layer: &MeasuredLayer| -> Result<Option<(String, Kept)>> {
        let kept = match layer.form {
            Form::Int8Wide => Kept::Activations,
            Form::Float16 => {
                let stored = sources.get(&format!("{}{WEIGHT}", layer.name));
                let values = stored.map(|stored| stored.read(Layout::AsInFiles)).transpose()?.unwrap_or_default();
                let is_large = values.iter().any(|value| value.abs() > half::f16::MAX.to_f32());
                Kept::Everything(if is_large { Type::Float } else { Type::Float16 })
            }
            Form::Int8 | Form::Int4 => return Ok(None),
        };
        Ok(Some((layer.name.clone(), kept)))
    };
    layers.iter().filter_map(|layer| keep(layer).transpose()).collect()
}

/// The file name that Optimum expects.
pub const MODEL: &str = "model.onnx";

/// The result of a conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// Names of the files with the graph and its weights.
    pub files: Vec<String>,
    /// Size of the model's weight files in bytes.
    pub bytes_before: u64,
    /// Size of `files` in bytes.
    pub bytes_after: u64,
    /// The effect of integers on the results of each linear layer, the largest first; empty unless the precision is int8.
    pub layers: Vec<MeasuredLayer>,
}

/// Reads the model folder `from` and writes `model.onnx` and `config.json` into `to`.
///
/// The graph takes `input_ids` and `attention_mask`, 64-bit integers `[batch, sequence]` with sequences of up to
/// [`Config::max_length`] tokens, and returns `logits` `[batch, labels]` as f32. It also takes `token_type_ids`, of the same
/// shape, if the model was trained on pairs of texts (`preprocessing.json`) and has a table of types. The weights of a model of more than 2 GB go to
/// `model.onnx_data`, which must stay in the same folder.
///
/// For int8, the model reads the rows of `calibration` (random tokens without it), and layers that integers would change too
/// much keep floats.
pub fn convert(
    from: &Path,
    to: &Path,
    precision: Precision,
    calibration: Option<&Calibration>,
    watch: &dyn Watch,
) -> Result<Converted> {
    let config = floats(from)?;
    let layers = match precision {
        Precision::Int8 => {
            let random = Calibration::random(&config);
            let loaded = Model::load(from, None, 0, &Device::flex())?;
            measure_batches(loaded.model, calibration.unwrap_or(&random), watch)?
        }
        _ => Vec::new(),
    };
    convert_within(from, to, precision, layers, LARGEST)
}

/// The config of a folder whose weights are floats.
fn floats(from: &Path) -> Result<Config> {
    let config = Config::open(from)?;
    ensure!(
        config.field("quantization_config").is_none_or(|value| value.is_null()),
        "the model in {} is quantized already; convert the model it was made from, with precision = \"int8\" for integers",
        from.display()
    );
    Ok(config)
}

/// Writes the files, with another limit for the size of a file in bytes. For int8, `layers` says which layers keep floats.
pub(super) fn convert_within(
    from: &Path,
    to: &Path,
    precision: Precision,
    layers: Vec<MeasuredLayer>,
    limit: u64,
) -> Result<Converted> {
    let config = floats(from)?;
    let weights = Weights::open(from)?
        .with_context(|| format!("model folder {} has no weights to convert; train the model first", from.display()))?;
    let sources =
        Match::whole(&config, &weights).with_context(|| format!("converting the model in {}", from.display()))?;
    let mut graph = match precision {
        Precision::Int8 => Graph::keeping(kept(&layers, &sources)?),
        _ => Graph::new(precision),
    };
    if Cleaning::open(from)?.is_some_and(|cleaning| cleaning.pairs) && config.token_types() > 1 {
        graph = graph.with_types();
    }
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
        layers,
        files: paths.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect(),
    })
}
