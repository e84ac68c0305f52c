//! Reads the parity fixtures: small checkpoints with the numbers that transformers computes on them.

use std::path::{Path, PathBuf};

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use serde_json::Value;

/// A fixture's folder and its `expected.json`.
pub struct Fixture {
    pub dir: PathBuf,
    pub expected: Value,
}

impl Fixture {
    /// A fixture of the repository, or of the shared folder where there is one.
    pub fn open(name: &str) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let shared = std::env::var_os("PIPE_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from);
        let places = [root.join("tests/fixtures/parity"), shared.join("parity/fixtures")];
        let dir = places.iter().map(|place| place.join(name)).find(|dir| dir.is_dir());
        let Some(dir) = dir else {
            println!("skipped: fixture {name} is neither in the repository nor in {}", shared.display());
            return None;
        };
        let text = std::fs::read_to_string(dir.join("expected.json")).expect("expected.json");
        Some(Fixture { dir, expected: serde_json::from_str(&text).expect("JSON") })
    }

    /// The batch: ids and mask `[B, T]`.
    pub fn batch(&self, device: &Device) -> (Tensor<2, Int>, Tensor<2, Bool>) {
        let (ids, shape) = self.matrix("input_ids");
        let (mask, _) = self.matrix("attention_mask");
        let ids: Vec<i64> = ids.into_iter().map(|v| v as i64).collect();
        let mask: Vec<bool> = mask.into_iter().map(|v| v > 0.0).collect();
        (
            Tensor::from_data(TensorData::new(ids, shape), device),
            Tensor::from_data(TensorData::new(mask, shape), device),
        )
    }

    /// `labels` `[B]`.
    pub fn labels(&self) -> Vec<i64> {
        let labels = self.expected["labels"].as_array().expect("labels");
        labels.iter().map(|v| v.as_i64().expect("a label")).collect()
    }

    pub fn matrix(&self, field: &str) -> (Vec<f64>, [usize; 2]) {
        let rows = self.expected[field].as_array().expect("rows");
        let values: Vec<f64> = rows
            .iter()
            .flat_map(|row| row.as_array().expect("a row").iter().map(|v| v.as_f64().expect("a number")))
            .collect();
        let shape = [rows.len(), values.len() / rows.len()];
        (values, shape)
    }

    /// The largest difference between `logits` and the expected ones.
    pub fn difference(&self, field: &str, logits: Tensor<2>) -> f64 {
        let (expected, shape) = self.matrix(field);
        assert_eq!(logits.dims(), shape);
        let logits: Vec<f32> = logits.into_data().try_to_vec().expect("f32");
        logits.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
    }
}
