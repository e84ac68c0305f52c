//! Stores a model's weights in fewer bits.

use anyhow::Context as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::base::{check_rows, copy_but_weights};
use super::shared::lineage::{Lineage, Step};
use super::shared::tokenizers;
use super::shared::types::{MODEL, TOKENS};
use super::shared::watched::{Watched, finished};
use pipe_engine::contract::ahead::Ahead;
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Invalid, Port, Stage};
use pipe_ml::compress::quantize::{Calibration, Form, GROUP, QuantizeReport, Request, Scheme, quantize};
use pipe_ml::judge::readable::check_tokens;
use pipe_ml::model::Config;
use pipe_ml::text::data::Tokens;

/// Stores a model's weights in fewer bits. With `int8`, `evaluate` and `predict` compute in integers on the CPU; the
/// stage finds the layers that this would change too much on real rows (the validation split of `in.tokens`) and gives
/// them more bits.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Quantize {
    /// `int8`: matrices as 8-bit integers with one scale per output channel, activations quantized per token.
    /// `int8-static`: one range for all activations of a layer. `int4`: weights of linear layers as 4-bit integers with
    /// one scale per group of inputs; activations stay floats. `fp16`, `bf16`: everything as 16-bit floats.
    scheme: Scheme,
    /// Rows of the validation split on which layers are measured, if `in.tokens` is set; otherwise rows of random
    /// tokens are used. For `int8` and `int8-static`; for `int4`, the measurements are only reported.
    #[serde(default = "rows")]
    calibration: usize,
    /// Inputs that share a scale, for `int4`: a multiple of 8 that divides the number of inputs of every layer. Larger
    /// groups take fewer bytes and round more coarsely: 4.5 bits per weight at 32, 4.125 at 128. Default: 32.
    #[serde(default)]
    group_size: Option<usize>,
}

/// More rows take longer and hardly change what is found.
pub(super) const ROWS: usize = 256;

fn rows() -> usize {
    ROWS
}

impl Stage for Quantize {
    const KIND: &'static str = "quantize";
    // 4: the folder says how the model was made.
    const VERSION: u32 = 4;
    const MAIN: Option<&'static str> = Some("scheme");
    const INPUTS: &'static [Port] = &[Port::one("model", MODEL), Port::optional("tokens", TOKENS)];
    const OUTPUTS: &'static [Port] = &[Port::one("model", MODEL)];

    fn check(&self) -> Vec<Invalid> {
        let rows =
            (self.calibration == 0).then(|| Invalid::new("calibration", "calibration is 0; at least 1 row is needed"));
        let group = self.group_size.and_then(|size| match (self.scheme, size) {
            (Scheme::Int4, 8..) if size.is_multiple_of(8) => None,
            (Scheme::Int4, _) => {
                Some(format!("group-size is {size}; it must be a multiple of 8, such as 32, 64 or 128"))
            }
            (other, _) => Some(format!("group-size applies only to int4, not to {other}")),
        });
        rows.into_iter().chain(group.map(|text| Invalid::new("group-size", text))).collect()
    }

    fn check_ahead(&self, stage: &Ahead) -> Vec<Invalid> {
        tokenizers::check_model(stage, "model", "tokens").into_iter().collect()
    }

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let dir = cx.input("model")?.dir.clone();
        let out = cx.output("model")?;
        let request = Request {
            scheme: self.scheme,
            calibration: calibration(cx, self.calibration)?,
            group: self.group_size.unwrap_or(GROUP),
        };
        let report = finished(quantize(&dir, &out, &request, &Watched::new(cx)))?;
        copy_but_weights(&dir, &out, &["config.json"])?;
        let notes = report_results(cx, &report);
        Lineage::open(&dir).then(Step { notes, ..Step::of(self)? }).write(&out)?;
        let path = out.join("quantization.json");
        std::fs::write(&path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// `count` rows to measure layers on, if `in.tokens` is set.
pub(super) fn calibration(cx: &Context, count: usize) -> anyhow::Result<Option<Calibration>> {
    if cx.inputs("tokens").is_empty() {
        return Ok(None);
    }
    let tokens = Tokens::open(&cx.input("tokens")?.dir)?;
    let dir = &cx.input("model")?.dir;
    check_tokens(&Config::open(dir)?, &tokens)?;
    check_rows(&cx.input("tokens")?.dir, dir, "the model")?;
    anyhow::ensure!(
        !tokens.validation.is_empty(),
        "there are no validation rows to measure layers on; set `validation` in `preprocess`, or leave out `in.tokens`"
    );
    Ok(Some(Calibration::of(&tokens.validation, count, tokens.pad_id)))
}

/// Report the results to the user; returns the lines that describe the model.
fn report_results(cx: &mut Context, report: &QuantizeReport) -> Vec<String> {
    let ratio = report.bytes_after as f64 / report.bytes_before as f64;
    let mut notes = vec![format!("{ratio:.2} of the size: {} → {} bytes", report.bytes_before, report.bytes_after)];
    cx.fact("size-ratio", ratio);
    if let Some(worst) = report.tensors.iter().max_by(|a, b| a.relative_error.total_cmp(&b.relative_error)) {
        notes.push(format!("largest relative error {:.4} in {}", worst.relative_error, worst.name));
        cx.fact("largest-relative-error", worst.relative_error);
    }
    if let Some(worst) = report.layers.first() {
        notes.push(format!("most sensitive layer: {}, whose outputs change by {:.4}", worst.name, worst.error));
        cx.fact("largest-layer-error", worst.error);
    }
    let more = [
        (Form::Int8Wide, "activations in 16 bits", "layers-in-16-bits"),
        (Form::Float16, "weights left in f16", "layers-in-f16"),
    ];
    for (form, what, fact) in more {
        let names = report.layers_as(form);
        if !names.is_empty() {
            notes.push(format!("{what}: {}", pipe_ml::model::shortened(&names)));
            cx.fact(fact, names.len() as f64);
        }
    }
    notes.iter().for_each(|note| cx.note(note));
    notes
}
