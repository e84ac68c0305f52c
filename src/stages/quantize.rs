//! Store a model's weights in fewer bits.

use anyhow::Context as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::base::copy_but_weights;
use super::types::MODEL;
use crate::engine::kind::{Context, Port, Stage};
use crate::ml::quantize::{Scheme, quantize};

/// Stores a model's weights in fewer bits; `evaluate` and `predict` compute with the rounded weights.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Quantize {
    /// `int8`: matrices as 8-bit integers with one scale per output channel. `fp16`: everything as 16-bit floats.
    scheme: Scheme,
}

impl Stage for Quantize {
    const KIND: &'static str = "quantize";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("scheme");
    const INPUTS: &'static [Port] = &[Port::one("model", MODEL)];
    const OUTPUTS: &'static [Port] = &[Port::one("model", MODEL)];

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let dir = cx.input("model")?.dir.clone();
        let out = cx.output("model")?;
        let report = quantize(&dir, &out, self.scheme)?;
        copy_but_weights(&dir, &out, &["config.json"])?;
        let worst = report.tensors.iter().max_by(|a, b| a.relative_error.total_cmp(&b.relative_error));
        let ratio = report.bytes_after as f64 / report.bytes_before as f64;
        cx.note(format!("{:.2} of the size: {} → {} bytes", ratio, report.bytes_before, report.bytes_after));
        if let Some(worst) = worst {
            cx.note(format!("largest relative error {:.4} in {}", worst.relative_error, worst.name));
            cx.fact("largest-relative-error", worst.relative_error);
        }
        cx.fact("size-ratio", ratio);
        let path = out.join("quantization.json");
        std::fs::write(&path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
