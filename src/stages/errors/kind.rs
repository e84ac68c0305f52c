//! Looks at what a classifier gets wrong.

use std::path::Path;

use anyhow::{Context as _, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ahead;
use super::rows::{Rows, Variant};
use super::summary::Summary;
use super::{markdown, pictures, tables};
use crate::stages::shared::pictures::confusion::{Confusion, write};
use crate::stages::shared::types::{CORPUS, PREDICTIONS, TABLE};
use pipe_engine::contract::ahead::Ahead;
use pipe_engine::contract::context::{Context, Input};
use pipe_engine::contract::kind::{Invalid, Labels, Port, Stage};
use pipe_ml::judge::errors::disagree::disagreements;
use pipe_ml::judge::errors::scored::Scored;
use pipe_ml::text::data::Corpus;

/// Looks at what a model gets wrong: the wrong rows with their texts, the most confident first; labels that are probably
/// wrong (confident learning); slices of the rows (source, length, links, mentions, hashtags, emoji, negation, capitals, date)
/// with Wilson intervals; and the rows about which further models differ from it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Errors {
    /// The model whose errors are looked at, if `in.predictions` has several; the others are compared with it. Default: the
    /// first.
    #[serde(default)]
    baseline: Option<String>,
    /// How many texts the pictures and `errors.md` show of each sort; the tables have all.
    #[serde(default = "dozen")]
    texts: usize,
}

fn dozen() -> usize {
    12
}

/// The most texts of each sort in the pictures: longer lists are hard to read.
const MOST: usize = 200;

impl Stage for Errors {
    const KIND: &'static str = "errors";
    const VERSION: u32 = 1;
    const INPUTS: &'static [Port] = &[Port::many("predictions", PREDICTIONS), Port::one("corpus", CORPUS)];
    const OUTPUTS: &'static [Port] = &[Port::one("table", TABLE)];

    fn check(&self) -> Vec<Invalid> {
        let is_wrong = !(1..=MOST).contains(&self.texts);
        let message = || format!("texts is {}; it must be from 1 to {MOST}", self.texts);
        is_wrong.then(|| Invalid::new("texts", message()).help("the tables have all rows")).into_iter().collect()
    }

    fn check_inputs(&self, labels: &Labels) -> Vec<Invalid> {
        let known = labels.get("predictions").map_or(&[][..], Vec::as_slice);
        let missing = self.baseline.as_deref().filter(|name| !known.contains(name));
        let wrong = missing.map(|name| {
            let message = format!("the baseline `{name}` is not among the models");
            Invalid::new("baseline", message).help(format!("models: {}", known.join(", ")))
        });
        wrong.into_iter().collect()
    }

    fn check_ahead(&self, stage: &Ahead) -> Vec<Invalid> {
        ahead::check(stage).into_iter().collect()
    }

    fn run(&self, cx: &mut Context) -> Result<()> {
        let corpus = Corpus::open(&cx.input("corpus")?.dir)?;
        let inputs = cx.inputs("predictions").to_vec();
        let at = match &self.baseline {
            Some(name) => inputs.iter().position(|input| input.label == *name),
            None => Some(0),
        };
        let base = at.and_then(|at| inputs.get(at)).context("there are no predictions")?;
        let rows = Rows::of(&corpus, read(base)?)?;
        rows.notes().into_iter().for_each(|note| cx.note(note));
        rows.warning().into_iter().for_each(|warning| cx.warn(warning));
        let others = inputs.iter().enumerate().filter(|(place, _)| Some(*place) != at);
        let variants: Vec<Variant> =
            others.map(|(_, input)| compared((base, &rows.scored), input)).collect::<Result<_>>()?;
        let summary = Summary::of(&rows, &variants);
        summary.notes().into_iter().for_each(|note| cx.note(note));
        summary.facts().into_iter().for_each(|(name, value)| cx.fact(name, value));
        let out = cx.output("table")?;
        self.write(&out, (&base.label, &rows, &variants, &summary))
    }
}

impl Errors {
    fn write(&self, out: &Path, (name, rows, variants, summary): (&str, &Rows, &[Variant], &Summary)) -> Result<()> {
        tables::errors(rows, &summary.suspicion).write(out, "errors")?;
        tables::suspects(rows, &summary.suspicion).write(out, "suspects")?;
        write(&out.join("slices.csv"), &tables::slices(&summary.slices)?)?;
        write(&out.join("errors.json"), summary.json(name)?.as_bytes())?;
        write(&out.join("errors.md"), markdown::document(name, rows, variants, (summary, self.texts)).as_bytes())?;
        Confusion { labels: rows.labels, counts: &summary.confusion }.write(out)?;
        let pictures = [
            ("slices.svg", pictures::slices(&summary.slices)),
            ("confident.svg", pictures::confident(rows, self.texts)),
            ("suspects.svg", pictures::suspects(rows, &summary.suspicion, self.texts)),
        ];
        for (file, svg) in pictures {
            write(&out.join(file), svg.as_bytes())?;
        }
        if variants.is_empty() {
            return Ok(());
        }
        tables::disagreements(rows, variants).write(out, "disagreements")?;
        write(&out.join("disagreements.svg"), pictures::disagreements(name, rows, variants, self.texts).as_bytes())
    }
}

fn read(input: &Input) -> Result<Scored> {
    Scored::read(&input.dir.join("predictions.parquet"))
}

/// The rows about which a further model differs.
fn compared((base, scored): (&Input, &Scored), input: &Input) -> Result<Variant> {
    let other = read(input)?;
    let found = disagreements(scored, &other).with_context(|| {
        format!(
            "`{}` did not predict the same rows as `{}`; let `evaluate` score both on one split of one corpus",
            input.label, base.label
        )
    })?;
    Ok(Variant { name: input.label.clone(), scored: other, found })
}
