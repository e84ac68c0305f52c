//! Scores rows with an ONNX file.
//!
//! The engine is `rten`, a maintained engine in Rust with few dependencies. Its kernels are its own, so what it computes also
//! shows that the file says what the model says. ONNX Runtime is faster, but is a C++ library that would have to be installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{Bool, Int, Tensor};
use rten::{NodeId, Value, ValueOrView};

use super::stored;
use super::{EXTERNAL, MODEL};
use crate::compute::foreign::catch_panics;
use crate::judge::classifier::Size;
use crate::model::Config;
use crate::text::ids::Ids;

/// An ONNX classifier that `convert` wrote, opened from its folder.
pub struct Session {
    engine: rten::Model,
    config: Config,
    dir: PathBuf,
    size: Size,
    inputs: Inputs,
    /// Logit `i` of the result is the one that the file has at `order[i]`; None for the same order.
    order: Option<Vec<usize>>,
}

struct Inputs {
    ids: NodeId,
    mask: NodeId,
    types: Option<NodeId>,
    logits: NodeId,
}

impl Session {
    /// Whether a folder has an ONNX file.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(MODEL).is_file()
    }

    /// Opens a folder with `model.onnx` and `config.json`.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(MODEL);
        let config = Config::open(dir)?;
        let counts = stored::count(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut bytes = 0;
        for path in [path.clone(), dir.join(format!("{MODEL}{EXTERNAL}"))] {
            if path.exists() {
                bytes += fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?.len();
            }
        }
        let size = Size { parameters: counts.parameters, non_zero: counts.non_zero, bytes };
        let open = || -> Result<_> {
            let engine = rten::Model::load_file(&path)?;
            let node = |name: &str| engine.node_id(name);
            let inputs = Inputs {
                ids: node("input_ids")?,
                mask: node("attention_mask")?,
                types: engine.find_node("token_type_ids"),
                logits: node("logits")?,
            };
            Ok((engine, inputs))
        };
        let (engine, inputs) = catch_panics(open).with_context(|| format!("opening {}", path.display()))?;
        Ok(Self { engine, config, dir: dir.to_owned(), size, inputs, order: None })
    }

    /// `ids` `[B, T]`, `mask` `[B, T]` (true = a real token) → logits `[B, C]`, row by row.
    pub fn logits(&self, ids: impl Into<Ids>, mask: Tensor<2, Bool>) -> Result<Vec<f32>> {
        let ids = ids.into();
        let shape = ids.dims();
        let numbers = |tensor: Tensor<2, Int>| -> Result<Vec<i32>> {
            let data = tensor.try_into_data().map_err(|error| anyhow::anyhow!("reading a batch: {error:?}"))?;
            data.convert::<i32>().try_into_vec().map_err(|error| anyhow::anyhow!("reading a batch: {error:?}"))
        };
        let input = |node: NodeId, values: Vec<i32>| -> Result<(NodeId, ValueOrView<'static>)> {
            Ok((node, Value::from_shape(shape, values).context("making a batch")?.into()))
        };
        let mut inputs =
            vec![input(self.inputs.ids, numbers(ids.tokens)?)?, input(self.inputs.mask, numbers(mask.int())?)?];
        if let Some(node) = self.inputs.types {
            let types = ids.types.map_or_else(|| Ok(vec![0; shape[0] * shape[1]]), numbers)?;
            inputs.push(input(node, types)?);
        }
        let run = || -> Result<Vec<f32>> {
            let [logits] = self.engine.run_n(inputs, [self.inputs.logits], None)?;
            let ([rows, classes], values) =
                logits.into_shape_vec::<f32, 2>().map_err(|error| anyhow::anyhow!("its logits: {error:?}"))?;
            ensure!(
                rows == shape[0] && classes == self.labels().len(),
                "it gives logits [{rows}, {classes}] for {} rows and {} labels",
                shape[0],
                self.labels().len()
            );
            Ok(values)
        };
        let values = catch_panics(run).with_context(|| format!("scoring with {}", self.dir.join(MODEL).display()))?;
        if values.iter().any(|value| !value.is_finite()) {
            bail!("{} gives logits that are not finite", self.dir.join(MODEL).display());
        }
        let Some(order) = &self.order else { return Ok(values) };
        Ok(values.chunks(order.len()).flat_map(|row| order.iter().map(|at| row[*at])).collect())
    }

    /// The same with its logits in another order: logit `i` is the one that was at `order[i]`.
    pub fn with_label_order(self, order: Vec<usize>) -> Self {
        Self { order: Some(order), ..self }
    }

    /// Whether the file has an input for the types of tokens.
    #[cfg(test)]
    pub(super) fn takes_types(&self) -> bool {
        self.inputs.types.is_some()
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Label names in the order of the file's logits.
    pub fn labels(&self) -> &[String] {
        self.config.labels()
    }

    pub fn size(&self) -> Size {
        self.size
    }
}
