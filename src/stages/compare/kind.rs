//! Compares several models, and checks them against limits.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gate::{Figures, Gate};
use super::repeated::{Repeated, over};
use super::row::{Comparison, Row};
use super::sources::Sources;
use super::{markdown, plot, quality, repeated};
use crate::stages::evaluate::Scores;
use crate::stages::shared::pictures::confusion::{self, Confusion};
use crate::stages::shared::pictures::curve::{self, Curve, Shown};
use crate::stages::shared::types::{METRICS, TABLE};
use crate::stages::shared::watched::{Watched, finished};
use pipe_engine::contract::context::Context;
use pipe_engine::contract::kind::{Invalid, Labels, Port, Stage};

/// Compares several models: quality, with McNemar's test and a bootstrap interval for the change from a baseline, and
/// cost. Repeated runs of one model can be one row: mean, spread, and tests of the change paired by seed. Writes
/// `comparison.csv`, `comparison.md`, a plot of size, accuracy and latency, `comparison.svg`, and plots of quality, F1 by label,
/// confusion and learning curves; and `sources.csv` if the rows have several sources. All models must have scored the same rows.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Compare {
    /// The model that changes, sizes and speed-ups refer to. Default: the first.
    #[serde(default)]
    baseline: Option<String>,
    /// The axis of repeated runs, such as `"seed"`: variants that differ only there are one row, with mean, standard deviation
    /// and intervals, and changes are paired by the axis. Writes `runs.csv` too. Default: each input is a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    over: Option<String>,
    /// Limits, such as `{ accuracy-drop = 0.01, size-ratio = 0.5 }`. If a variant exceeds a limit, the stage fails and
    /// writes no files; the error message contains the tables.
    #[serde(default)]
    gate: Option<Gate>,
}

impl Stage for Compare {
    const KIND: &'static str = "compare";
    // 2: tests of the change, cost, the plot.
    // 3: plots of quality, labels, confusion and learning curves.
    const VERSION: u32 = 3;
    const INPUTS: &'static [Port] = &[Port::many("metrics", METRICS)];
    const OUTPUTS: &'static [Port] = &[Port::one("table", TABLE)];

    fn check(&self) -> Vec<Invalid> {
        self.gate.iter().flat_map(|gate| gate.check(self.over.is_some())).collect()
    }

    fn check_inputs(&self, labels: &Labels) -> Vec<Invalid> {
        let labels = labels.get("metrics").map_or(&[][..], Vec::as_slice);
        let grouped = self.over.as_deref().map(|axis| (over::check(labels, axis), over::variants(labels, axis)));
        let variants: Vec<&str> = match &grouped {
            Some((wrong, _)) if !wrong.is_empty() => return wrong.clone(),
            Some((_, variants)) => variants.iter().map(String::as_str).collect(),
            None => labels.to_vec(),
        };
        if let Some(name) = self.baseline.as_deref().filter(|name| !variants.contains(name)) {
            let message = format!("the baseline `{name}` is not among the variants");
            return vec![Invalid::new("baseline", message).help(format!("variants: {}", variants.join(", ")))];
        }
        let baseline = self.baseline.as_deref().or_else(|| variants.first().copied());
        self.gate.iter().flat_map(|gate| gate.check_variants(&variants, baseline)).collect()
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        if let Some(axis) = &self.over {
            return self.run_over(axis, cx);
        }
        let all: Vec<(String, Scores)> = read(cx).collect::<Result<_>>()?;
        let labels: Vec<&str> = all.iter().map(|(label, _)| label.as_str()).collect();
        over::seeds_as_methods(&labels).into_iter().for_each(|warning| cx.warn(warning));
        let comparison = Comparison::of(&all, self.baseline.as_deref())?;
        let mut sources = Sources::default();
        all.iter().for_each(|(label, scores)| sources.add(label, &scores.sources));
        let tables = markdown::document(&comparison) + &sources.document();
        let figures: Vec<Figures> = comparison.rows.iter().map(Figures::from).collect();
        self.pass_gate(&comparison.baseline, &figures, &tables)?;
        let out = cx.output("table")?;
        write(&out.join("comparison.md"), tables.as_bytes())?;
        write(&out.join("comparison.csv"), &csv(&comparison.rows)?)?;
        write_sources(&out, &sources)?;
        write(&out.join("comparison.svg"), plot::svg(&comparison).as_bytes())?;
        write(&out.join("quality.svg"), quality::svg(&comparison).as_bytes())?;
        write(&out.join("labels.svg"), quality::labels(&all).as_bytes())?;
        write(&out.join("labels.csv"), &quality::table(&all)?)?;
        let confusions: Vec<(Vec<String>, &Scores)> = all.iter().map(|(_, scores)| (names(scores), scores)).collect();
        let confusions = all.iter().zip(&confusions).map(|((variant, _), (labels, scores))| {
            (variant.as_str(), Confusion { labels, counts: &scores.metrics.confusion })
        });
        confusion::write_all(&confusions.collect::<Vec<_>>(), &out)?;
        curves(cx, &|label| label.to_owned(), &out)
    }
}

/// The names of the labels.
fn names(scores: &Scores) -> Vec<String> {
    scores.metrics.per_class.iter().map(|class| class.label.clone()).collect()
}

/// Write the learning curves of the models that have one, in one picture. Models of one variant have one colour.
fn curves(cx: &Context, variant: &dyn Fn(&str) -> String, out: &Path) -> Result<()> {
    let mut variants: Vec<String> = Vec::new();
    let mut all: Vec<Shown> = Vec::new();
    for input in cx.inputs("metrics") {
        let Some(curve) = Curve::read(&input.dir)? else { continue };
        // A model made from another one may keep its curve.
        if all.iter().any(|known| known.curve == curve) {
            continue;
        }
        let name = variant(&input.label);
        let color = variants.iter().position(|known| *known == name).unwrap_or_else(|| {
            variants.push(name.clone());
            variants.len() - 1
        });
        all.push(Shown { label: input.label.clone(), name, color, curve });
    }
    if all.is_empty() { Ok(()) } else { curve::write_all(&all, out) }
}

/// The scores of all inputs, read one after the other.
fn read(cx: &Context) -> impl Iterator<Item = Result<(String, Scores)>> {
    cx.inputs("metrics").iter().map(|input| Ok((input.label.clone(), Scores::read(&input.dir)?)))
}

impl Compare {
    /// Compare variants with several runs each.
    fn run_over(&self, axis: &str, cx: &mut Context) -> Result<()> {
        let mut sources = Sources::default();
        let runs = read(cx).inspect(|run| {
            if let Ok((label, scores)) = run {
                let variant = over::Point::of(label, axis).map_or_else(|_| label.clone(), |point| point.variant);
                sources.add(&variant, &scores.sources);
            }
        });
        let all = finished(Repeated::of(runs, (axis, self.baseline.as_deref()), &Watched::new(cx)))?;
        if all.methods.iter().all(|method| method.runs.len() == 1) {
            cx.note(format!("each variant has one run over `{axis}`, which shows no spread; `repeat = 5` gives five"));
        }
        let tables = repeated::document(&all) + &sources.document();
        self.pass_gate(&all.baseline, &all.figures(), &tables)?;
        all.facts().into_iter().for_each(|(name, value)| cx.fact(name, value));
        let out = cx.output("table")?;
        write(&out.join("comparison.md"), tables.as_bytes())?;
        write(&out.join("comparison.csv"), &repeated::table(&all)?)?;
        write(&out.join("runs.csv"), &repeated::runs(&all)?)?;
        write_sources(&out, &sources)?;
        write(&out.join("comparison.svg"), repeated::svg(&all).as_bytes())?;
        curves(cx, &|label| over::Point::of(label, axis).map_or(label.to_owned(), |point| point.variant), &out)
    }

    /// Fail if a variant exceeds a limit.
    fn pass_gate(&self, baseline: &str, figures: &[Figures], tables: &str) -> Result<()> {
        match self.gate.as_ref().and_then(|gate| gate.shortfall(baseline, figures)) {
            Some(shortfall) => bail!("{shortfall}\n\n{tables}\nno files were written; leave out `gate` to write them"),
            None => Ok(()),
        }
    }
}

/// `sources.csv`, if the rows have several sources.
fn write_sources(out: &Path, sources: &Sources) -> Result<()> {
    sources.csv()?.map_or(Ok(()), |table| write(&out.join("sources.csv"), &table))
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
