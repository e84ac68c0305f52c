//! Compares several models, and checks them against limits.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gate::Gate;
use super::row::{Comparison, Row};
use super::{markdown, plot};
use crate::stages::evaluate::Scores;
use crate::stages::shared::types::{METRICS, TABLE};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Invalid, Labels, Port, Stage};

/// Compares several models: quality, with McNemar's test and a bootstrap interval for the change from a baseline, and
/// cost. Writes `comparison.csv`, `comparison.md` and a plot, `comparison.svg`. All models must have scored the same
/// rows.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Compare {
    /// The model that changes, sizes and speed-ups refer to. Default: the first.
    #[serde(default)]
    baseline: Option<String>,
    /// Limits, such as `{ accuracy-drop = 0.01, size-ratio = 0.5 }`. If a variant exceeds a limit, the stage fails and
    /// writes no files; the error message contains the tables.
    #[serde(default)]
    gate: Option<Gate>,
}

impl Stage for Compare {
    const KIND: &'static str = "compare";
    // 2: tests of the change, cost, the plot.
    const VERSION: u32 = 2;
    const INPUTS: &'static [Port] = &[Port::many("metrics", METRICS)];
    const OUTPUTS: &'static [Port] = &[Port::one("table", TABLE)];

    fn check(&self) -> Vec<Invalid> {
        self.gate.iter().flat_map(Gate::check).collect()
    }

    fn check_inputs(&self, labels: &Labels) -> Vec<Invalid> {
        let variants = labels.get("metrics").map_or(&[][..], Vec::as_slice);
        if let Some(name) = self.baseline.as_deref().filter(|name| !variants.contains(name)) {
            let message = format!("the baseline `{name}` is not among the variants");
            return vec![Invalid::new("baseline", message).help(format!("variants: {}", variants.join(", ")))];
        }
        let baseline = self.baseline.as_deref().or_else(|| variants.first().copied());
        self.gate.iter().flat_map(|gate| gate.check_variants(variants, baseline)).collect()
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        let all: Vec<(String, Scores)> =
            cx.inputs("metrics").iter().map(|i| Ok((i.label.clone(), Scores::read(&i.dir)?))).collect::<Result<_>>()?;
        let comparison = Comparison::of(&all, self.baseline.as_deref())?;
        let tables = markdown::document(&comparison);
        if let Some(shortfall) = self.gate.as_ref().and_then(|gate| gate.shortfall(&comparison)) {
            bail!("{shortfall}\n\n{tables}\nno files were written; leave out `gate` to write them");
        }
        let out = cx.output("table")?;
        write(&out.join("comparison.md"), tables.as_bytes())?;
        write(&out.join("comparison.csv"), &csv(&comparison.rows)?)?;
        write(&out.join("comparison.svg"), plot::svg(&comparison).as_bytes())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn csv(rows: &[Row]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    Ok(writer.into_inner().map_err(|e| e.into_error())?)
}
