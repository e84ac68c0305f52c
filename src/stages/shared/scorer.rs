//! Opens what scores rows: a trained model, or its ONNX file.

use std::path::Path;

use anyhow::Result;

use super::base;
use super::labels::{classifier_for, label_order, note};
use pipe_engine::contract::context::Context;
use pipe_ml::compute::device;
use pipe_ml::compute::device::{Chosen, Want};
use pipe_ml::onnx::{Scorer, Session};
use pipe_ml::text::data::Tokens;

/// Open a trained model, or an ONNX file, to score rows of `tokens`; its logits are in the order of their labels. The device
/// is the one that batches have to be on.
pub fn scorer_for(cx: &mut Context, dir: &Path, tokens: &Tokens, whose: &str) -> Result<(Scorer, Chosen)> {
    if !Session::is_in(dir) {
        let device = base::device(cx)?;
        let classifier = classifier_for(cx, dir, tokens, &device, whose)?;
        return Ok((Scorer::Model(Box::new(classifier)), device));
    }
    let session = Session::open(dir)?;
    cx.note("the ONNX file runs on the CPU, in `rten`");
    let own = session.labels().to_vec();
    let session = match label_order(&own, tokens, whose)? {
        Some(order) => {
            note(cx, &own, tokens, &order, whose);
            session.with_label_order(order)
        }
        None => session,
    };
    Ok((Scorer::Onnx(Box::new(session)), device::open(&Want::Cpu)?))
}
