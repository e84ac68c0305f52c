//! Reads the parity fixtures: small checkpoints with the results of transformers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use serde_json::Value;

use super::HostTensors;
use super::names::WEIGHT;
use crate::text::ids::Ids;

/// The fixtures of the repository. A test that needs one fails if it is missing.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/parity");

/// More folders of fixtures, which a machine may have: beside the repository, and in `PIPE_PARITY`.
fn optional() -> Vec<PathBuf> {
    let beside = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let shared = std::env::var_os("PIPE_SHARED").map_or_else(|| beside.to_path_buf(), PathBuf::from);
    let more = std::env::var_os("PIPE_PARITY").map(PathBuf::from);
    std::iter::once(shared.join("parity/fixtures")).chain(more).collect()
}

/// The device for parity tests: the CPU, or the one in `PIPE_TEST_DEVICE` (`wgpu`, `cuda:1`).
pub fn device() -> Device {
    match std::env::var("PIPE_TEST_DEVICE") {
        Ok(name) => crate::compute::device::open(&name.parse().expect("a device")).expect("the device").device,
        Err(_) => Device::flex(),
    }
}

/// A fixture's folder and its `expected.json`.
pub struct Fixture {
    pub dir: PathBuf,
    pub expected: Value,
}

impl Fixture {
    /// Opens a committed fixture.
    pub fn open(name: &str) -> Self {
        Self::read(Path::new(COMMITTED).join(name))
    }

    /// All fixtures of classifiers from all folders, each once.
    pub fn classifiers() -> Vec<Self> {
        Self::with("config.json")
    }

    /// All fixtures of adapters with their base models.
    pub fn adapters() -> Vec<Self> {
        Self::with("adapter")
    }

    /// All fixtures whose folder contains an entry of this name.
    fn with(entry: &str) -> Vec<Self> {
        let mut found = BTreeMap::new();
        let mut take = |entries: std::fs::ReadDir| {
            for dir in entries.flatten().map(|entry| entry.path()).filter(|dir| dir.join(entry).exists()) {
                found.entry(dir.file_name().map(ToOwned::to_owned)).or_insert(dir);
            }
        };
        take(std::fs::read_dir(COMMITTED).expect("the committed fixtures"));
        for place in optional() {
            match std::fs::read_dir(&place) {
                Ok(entries) => take(entries),
                Err(_) => println!("skipped: no fixtures in {}", place.display()),
            }
        }
        assert!(!found.is_empty(), "no fixture in {COMMITTED} has {entry}");
        found.into_values().map(Self::read).collect()
    }

    fn read(dir: PathBuf) -> Self {
        let path = dir.join("expected.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Fixture { dir, expected: serde_json::from_str(&text).expect("JSON") }
    }

    pub fn name(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The batch: ids and mask `[B, T]`.
    pub fn batch(&self, device: &Device) -> (Ids, Tensor<2, Bool>) {
        let (ids, shape) = self.matrix("input_ids");
        let (mask, _) = self.matrix("attention_mask");
        let numbers = |values: Vec<f64>| values.into_iter().map(|v| v as u32).collect();
        let mask: Vec<bool> = mask.into_iter().map(|v| v > 0.0).collect();
        (
            Ids::on(device, shape, numbers(ids), numbers(self.types().unwrap_or_default())),
            Tensor::from_data(TensorData::new(mask, shape), device),
        )
    }

    /// The token types, row by row, if the rows are pairs.
    pub fn types(&self) -> Option<Vec<f64>> {
        self.expected.get("token_type_ids").map(|types| matrix(types).0)
    }

    /// `labels` `[B]`.
    pub fn labels(&self) -> Vec<i64> {
        let labels = self.expected["labels"].as_array().expect("labels");
        labels.iter().map(|v| v.as_i64().expect("a label")).collect()
    }

    pub fn matrix(&self, field: &str) -> (Vec<f64>, [usize; 2]) {
        matrix(&self.expected[field])
    }

    /// The largest difference between `logits` and the expected ones.
    pub fn difference(&self, field: &str, logits: Tensor<2>) -> f64 {
        self.difference_to(&self.expected[field], logits)
    }

    pub fn difference_to(&self, expected: &Value, logits: Tensor<2>) -> f64 {
        let (expected, shape) = matrix(expected);
        assert_eq!(logits.dims(), shape);
        let logits: Vec<f32> = logits.into_data().try_to_vec().expect("f32");
        logits.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
    }
}

/// Mean cross entropy of `logits` `[B, C]`.
pub fn cross_entropy(logits: Tensor<2>, labels: &[i64], device: &Device) -> Tensor<1> {
    let rows = labels.len();
    let index: Tensor<2, Int> = Tensor::from_data(TensorData::new(labels.to_vec(), [rows, 1]), device);
    -log_softmax(logits, 1).gather(1, index).mean()
}

/// Rows of numbers, and their shape.
fn matrix(value: &Value) -> (Vec<f64>, [usize; 2]) {
    let rows = value.as_array().expect("rows");
    let row = |row: &Value| -> Vec<f64> {
        row.as_array().expect("a row").iter().map(|v| v.as_f64().expect("a number")).collect()
    };
    let values: Vec<f64> = rows.iter().flat_map(row).collect();
    let shape = [rows.len(), values.len() / rows.len()];
    (values, shape)
}

/// The same function in floats, with a channel that is larger by `size` wherever the encoder's layers read it.
/// DeBERTa-v3 has such channels: a LayerNorm adds the size, and the biases of all layers that read the channel subtract
/// it again.
pub(crate) fn with_outlier(host: &mut HostTensors, channel: usize, size: f32) {
    let names: Vec<String> = host.keys().cloned().collect();
    let layers = names.iter().filter(|name| name.ends_with("intermediate.dense.weight")).count();
    let mut add = |name: &str, size: f32| host.get_mut(name).expect(name).data[channel] += size;
    add("deberta.embeddings.LayerNorm.bias", size);
    add("deberta.encoder.LayerNorm.bias", size);
    for layer in 0..layers {
        let at = format!("deberta.encoder.layer.{layer}");
        add(&format!("{at}.attention.output.LayerNorm.bias"), size);
        if layer + 1 < layers {
            add(&format!("{at}.output.LayerNorm.bias"), size);
        }
        // The residual bypasses the layers and is added to their output.
        add(&format!("{at}.attention.output.dense.bias"), -size);
        add(&format!("{at}.output.dense.bias"), -size);
    }
    let readers = ["query_proj", "key_proj", "value_proj", "intermediate.dense"];
    for weight in names.iter().filter(|name| readers.iter().any(|r| name.ends_with(&format!("{r}{WEIGHT}")))) {
        let super::HostTensor { shape, data } = &host[weight];
        let column: Vec<f32> = data.iter().skip(channel).step_by(shape[1]).copied().collect();
        let bias = host.get_mut(&weight.replace(WEIGHT, ".bias")).expect("a bias");
        bias.data.iter_mut().zip(column).for_each(|(bias, weight)| *bias -= size * weight);
    }
}
