//! Converts a model into a file for other programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::base::copy_but_weights;
use super::shared::types::{MODEL, ONNX};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Port, Stage};
use pipe_ml::onnx::{Precision, convert};

/// Converts a model into a file for other programs, with its config (including the label names) and its tokenizer
/// beside it.
///
/// The file is `model.onnx` (opset 17), for ONNX Runtime and Optimum's `ORTModelForSequenceClassification`: `input_ids`
/// and `attention_mask` `[batch, sequence]` of any size → `logits` `[batch, labels]`. See docs/onnx.md.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Convert {
    /// `onnx`.
    format: Format,
    /// `f32`; `f16` for GPUs, half the size; `int8` for CPUs, a quarter of the size: weights and tables as 8-bit
    /// integers with one scale per output channel (per row of a table), activations quantized at run time. `int8`
    /// converts the float weights: give it the float model, not the output of `quantize`.
    #[serde(default)]
    precision: Precision,
}

/// What a model is converted into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Onnx,
}

impl Stage for Convert {
    const KIND: &'static str = "convert";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("format");
    const INPUTS: &'static [Port] = &[Port::one("model", MODEL)];
    const OUTPUTS: &'static [Port] = &[Port::one("onnx", ONNX)];

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let dir = cx.input("model")?.dir.clone();
        let out = cx.output("onnx")?;
        let converted = match self.format {
            Format::Onnx => convert(&dir, &out, self.precision)?,
        };
        copy_but_weights(&dir, &out, &["config.json"])?;
        let ratio = converted.bytes_after as f64 / converted.bytes_before as f64;
        cx.note(format!(
            "{} in {}: {ratio:.2} of the size, {} → {} bytes",
            converted.files.join(" and "),
            self.precision,
            converted.bytes_before,
            converted.bytes_after
        ));
        cx.fact("bytes", converted.bytes_after as f64);
        cx.fact("size-ratio", ratio);
        Ok(())
    }
}
