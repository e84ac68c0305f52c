//! Converts a model into a file for other programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantize::{ROWS, calibration};
use super::shared::base::copy_but_weights;
use super::shared::lineage::{Lineage, Step};
use super::shared::types::{MODEL, ONNX, TOKENS};
use super::shared::watched::{Watched, finished};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Invalid, Labels, Port, Stage};
use pipe_ml::compress::quantize::Form;
use pipe_ml::model::shortened;
use pipe_ml::onnx::{Converted, Precision, convert};

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
    /// integers with one scale per output channel (per row of a table), activations quantized at run time, except in
    /// layers that this would change too much, measured on the validation split of `in.tokens` (without it, on random
    /// tokens). `int8` converts the float weights: give it the float model, not the output of `quantize`.
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
    // 2: int8 keeps floats in layers that it would change too much; the folder says how texts were cleaned and how the
    // model was made.
    const VERSION: u32 = 2;
    const MAIN: Option<&'static str> = Some("format");
    const INPUTS: &'static [Port] = &[Port::one("model", MODEL), Port::optional("tokens", TOKENS)];
    const OUTPUTS: &'static [Port] = &[Port::one("onnx", ONNX)];

    fn check_inputs(&self, labels: &Labels) -> Vec<Invalid> {
        let is_idle = labels.contains_key("tokens") && self.precision != Precision::Int8;
        let invalid = || {
            Invalid::new("tokens", format!("`in.tokens` is set, but {} measures no layers", self.precision))
                .help("add `precision = \"int8\"`, or leave out `in.tokens`")
        };
        is_idle.then(invalid).into_iter().collect()
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let dir = cx.input("model")?.dir.clone();
        let out = cx.output("onnx")?;
        let converted = match self.format {
            Format::Onnx => {
                let rows = calibration(cx, ROWS)?;
                finished(convert(&dir, &out, self.precision, rows.as_ref(), &Watched::new(cx)))?
            }
        };
        copy_but_weights(&dir, &out, &["config.json"])?;
        let notes = kept(&converted);
        notes.iter().for_each(|note| cx.note(note));
        Lineage::open(&dir).then(Step { notes, ..Step::of(self)? }).write(&out)?;
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

/// The layers that keep floats in a file of integers, in words.
fn kept(converted: &Converted) -> Vec<String> {
    let names = |form: Form| -> Vec<String> {
        converted.layers.iter().filter(|layer| layer.form == form).map(|layer| layer.name.clone()).collect()
    };
    let kinds =
        [(Form::Int8Wide, "activations left as floats"), (Form::Float16, "weights and activations left as floats")];
    let lines = kinds.into_iter().map(|(form, what)| (names(form), what)).filter(|(names, _)| !names.is_empty());
    lines
        .map(|(names, what)| {
            format!("{what} in {} of {} layers: {}", names.len(), converted.layers.len(), shortened(&names))
        })
        .collect()
}
