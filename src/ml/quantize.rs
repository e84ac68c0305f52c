//! Store a model's weights in fewer bits.
//!
//! Both schemes save space. Computing stays in f32: loading an int8 folder multiplies the integers
//! by their scales, so the logits are those of the rounded weights.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rayon::prelude::*;
use safetensors::Dtype;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::model::config::{Config, INT8};
use super::model::host::HostTensor;
use super::model::weights::{self, Encoded, Pair};

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Matrices as 8-bit integers with one f32 scale per output channel (per row of an embedding
    /// table), symmetric around zero; the rest as f32.
    Int8,
    /// Everything as 16-bit floats. `transformers` reads it.
    Fp16,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Int8 => "int8",
            Scheme::Fp16 => "fp16",
        })
    }
}

/// What quantizing did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizeReport {
    pub scheme: Scheme,
    pub tensors: Vec<QuantizedTensor>,
    /// Size of the weight files.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// One tensor that is stored in fewer bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantizedTensor {
    pub name: String,
    /// ‖stored − original‖ / ‖original‖.
    pub relative_error: f64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// Reads the model folder `from` and writes `config.json` and `model.safetensors` into `to`.
///
/// Int8: `x ≈ q · s` with `s = max|w| / 127` over the row and `q = round(w / s)`, stored as `NAME`
/// (I8) and `NAME_scale` (F32 `[out]`), and announced in `config.json` as `quantization_config`.
pub fn quantize(from: &Path, to: &Path, scheme: Scheme) -> Result<QuantizeReport> {
    let config = Config::open(from)?;
    if config.field("quantization_config").is_some_and(|value| !value.is_null()) {
        bail!("the model in {} is quantized already; quantize the model it was made from", from.display());
    }
    let files = weights::files(from)?;
    ensure!(!files.is_empty(), "model folder {} has no weights to quantize", from.display());
    let tensors = weights::read(&files)?;
    let stored: Vec<(String, Stored)> = tensors
        .into_par_iter()
        .map(|(name, tensor)| {
            let stored =
                store(&name, &tensor, scheme).with_context(|| format!("quantizing the model in {}", from.display()))?;
            Ok((name, stored))
        })
        .collect::<Result<_>>()?;

    let mut report = Vec::new();
    let mut encoded = BTreeMap::new();
    for (name, Stored { values, scales, relative_error }) in stored {
        if let Some(relative_error) = relative_error {
            let bytes_after = values.bytes.len() + scales.as_ref().map_or(0, |s| s.bytes.len());
            report.push(QuantizedTensor {
                name: name.clone(),
                relative_error,
                bytes_before: values.shape.iter().product::<usize>() as u64 * 4,
                bytes_after: bytes_after as u64,
            });
        }
        if let Some(scales) = scales {
            encoded.insert(format!("{name}{}", weights::SCALE), scales);
        }
        encoded.insert(name, values);
    }
    let mut json = config.to_json();
    match scheme {
        Scheme::Int8 => {
            json["quantization_config"] =
                json!({"quant_method": INT8, "bits": 8, "symmetric": true, "granularity": "per-channel"});
        }
        Scheme::Fp16 => {
            for field in ["torch_dtype", "dtype"] {
                if json.get(field).is_some() {
                    json[field] = json!("float16");
                }
            }
        }
    }
    let text = serde_json::to_string_pretty(&json).context("encoding config.json")?;
    let pair = Pair { config: to.join("config.json"), weights: to.join(weights::SINGLE) };
    pair.write(&text, |file| weights::write::encode(file, &encoded))?;
    let size = |path: &Path| -> Result<u64> {
        Ok(fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len())
    };
    Ok(QuantizeReport {
        scheme,
        tensors: report,
        bytes_before: files.iter().map(|file| size(file)).sum::<Result<u64>>()?,
        bytes_after: size(&pair.weights)?,
    })
}

/// A tensor in its new form; no error where it is stored as it was.
struct Stored {
    values: Encoded,
    scales: Option<Encoded>,
    relative_error: Option<f64>,
}

fn store(name: &str, tensor: &HostTensor, scheme: Scheme) -> Result<Stored> {
    if let Some(bad) = tensor.data.iter().find(|v| !v.is_finite()) {
        bail!("tensor {name} holds {bad}; a model with such a weight cannot be quantized");
    }
    match scheme {
        Scheme::Int8 if tensor.shape.len() == 2 && name.ends_with(".weight") => Ok(int8(tensor)),
        Scheme::Int8 => Ok(Stored { values: Encoded::f32(tensor), scales: None, relative_error: None }),
        Scheme::Fp16 => {
            let largest = tensor.data.iter().fold(0f32, |largest, v| largest.max(v.abs()));
            ensure!(largest <= 65504.0, "tensor {name} holds ±{largest}, more than fp16's 65504");
            let back = tensor.data.iter().map(|v| half::f16::from_f32(*v).to_f32());
            let relative_error = Some(relative_error(&tensor.data, back));
            Ok(Stored { values: Encoded::f16(tensor), scales: None, relative_error })
        }
    }
}

fn int8(tensor: &HostTensor) -> Stored {
    let [rows, width] = [tensor.shape[0], tensor.shape[1]];
    let mut scales = Vec::with_capacity(rows);
    let mut bytes = Vec::with_capacity(tensor.data.len());
    for row in tensor.data.chunks_exact(width) {
        let largest = row.iter().fold(0f32, |largest, v| largest.max(v.abs()));
        // A row of zeros (padding) has no largest weight; any scale gives zeros back.
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        scales.push(scale);
        bytes.extend(row.iter().map(|v| (v / scale).round_ties_even().clamp(-127.0, 127.0) as i8 as u8));
    }
    let back = bytes.iter().enumerate().map(|(i, q)| f32::from(*q as i8) * scales[i / width]);
    let relative_error = Some(relative_error(&tensor.data, back));
    let scales = Encoded::f32(&HostTensor { shape: vec![rows], data: scales });
    let values = Encoded { dtype: Dtype::I8, shape: tensor.shape.clone(), bytes };
    Stored { values, scales: Some(scales), relative_error }
}

fn relative_error(original: &[f32], stored: impl Iterator<Item = f32>) -> f64 {
    let (mut difference, mut norm) = (0f64, 0f64);
    for (a, b) in original.iter().zip(stored) {
        difference += f64::from(a - b).powi(2);
        norm += f64::from(*a).powi(2);
    }
    if norm == 0.0 { 0.0 } else { (difference / norm).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::dropout::Noise;
    use crate::ml::model::Model;
    use crate::ml::model::fixture::Fixture;
    use burn::tensor::Device;

    /// Quantizes the fixture; the report and the largest logit difference to the f32 model.
    fn quantized(scheme: Scheme) -> Option<(QuantizeReport, f64)> {
        let fixture = Fixture::open("roberta-tiny")?;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let report = quantize(&fixture.dir, dir.path(), scheme).expect("quantized");
        let device = Device::flex();
        let loaded = Model::load(dir.path(), None, 0, &device).expect("loads");
        assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
        let (ids, mask) = fixture.batch(&device);
        let logits = loaded.model.forward(ids, mask, &mut Noise::Off);
        Some((report, fixture.difference("logits", logits)))
    }

    #[test]
    fn int8_is_a_quarter_of_the_size_and_close() {
        let Some((report, difference)) = quantized(Scheme::Int8) else { return };
        println!("int8: {} → {} bytes, logits differ by {difference:.1e}", report.bytes_before, report.bytes_after);
        assert!(report.bytes_after * 100 < report.bytes_before * 33, "{report:?}");
        // Three embedding tables, six matrices a layer, two in the head.
        assert_eq!(report.tensors.len(), 3 + 3 * 6 + 2);
        assert!(report.tensors.iter().all(|t| t.relative_error > 0.0 && t.relative_error < 0.01), "{report:?}");
        assert!(difference > 0.0 && difference < 0.1, "{difference}");
    }

    #[test]
    fn fp16_is_half_the_size_and_closer() {
        let Some((report, difference)) = quantized(Scheme::Fp16) else { return };
        assert!(report.bytes_after * 100 < report.bytes_before * 52, "{report:?}");
        assert!(difference < 1e-2, "{difference}");
    }

    #[test]
    fn quantizing_twice_is_refused() {
        let Some(fixture) = Fixture::open("roberta-tiny") else { return };
        let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        quantize(&fixture.dir, one.path(), Scheme::Int8).expect("quantized");
        let error = quantize(one.path(), two.path(), Scheme::Int8).map(|_| ()).expect_err("refused");
        assert!(error.to_string().contains("is quantized already"), "{error}");
    }

    #[test]
    fn a_loaded_int8_model_saves_as_an_ordinary_one() {
        let Some(fixture) = Fixture::open("roberta-tiny") else { return };
        let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        quantize(&fixture.dir, one.path(), Scheme::Int8).expect("quantized");
        let model = Model::load(one.path(), None, 0, &Device::flex()).expect("loads").model;
        model.save(two.path(), model.config().labels()).expect("saved");
        assert_eq!(Config::open(two.path()).expect("valid").field("quantization_config"), None);
        let again = Model::load(two.path(), None, 0, &Device::flex()).expect("loads").model;
        assert!(again.to_host().expect("host") == model.to_host().expect("host"));
    }

    #[test]
    fn rows_use_the_whole_range_and_zero_rows_stay_zero() {
        let tensor = HostTensor { shape: vec![2, 3], data: vec![-2.0, 1.0, 0.0, 0.0, 0.0, 0.0] };
        let stored = int8(&tensor);
        let values: Vec<i8> = stored.values.bytes.iter().map(|b| *b as i8).collect();
        // 1.0 / (2 / 127) = 63.5 lies between two: to the even one.
        assert_eq!(values, [-127, 64, 0, 0, 0, 0]);
    }

    #[test]
    fn weights_that_no_scheme_can_hold_are_refused() {
        let bad = |value| HostTensor { shape: vec![1, 1], data: vec![value] };
        let error =
            |value, scheme| store("a.weight", &bad(value), scheme).map(|_| ()).expect_err("refused").to_string();
        assert_eq!(error(1e6, Scheme::Fp16), "tensor a.weight holds ±1000000, more than fp16's 65504");
        assert!(error(f32::NAN, Scheme::Int8).starts_with("tensor a.weight holds NaN"));
    }
}
