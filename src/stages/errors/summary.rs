//! The numbers about errors.

use anyhow::Result;
use serde_json::{Value, json};

use super::rows::{Rows, Variant};
use pipe_ml::judge::errors::disagree::Kind;
use pipe_ml::judge::errors::slices::{Slice, Slices};
use pipe_ml::judge::errors::suspects::Suspicion;

/// What all files say.
#[derive(Debug)]
pub(super) struct Summary {
    pub labels: Vec<String>,
    /// `[label][predicted]`
    pub confusion: Vec<Vec<u64>>,
    pub slices: Slices,
    pub suspicion: Suspicion,
    pub disagreements: Vec<Counts>,
}

/// How many rows a variant predicts otherwise than the baseline.
#[derive(Debug)]
pub(super) struct Counts {
    pub variant: String,
    pub lost: usize,
    pub gained: usize,
    pub neither: usize,
}

impl Counts {
    fn of(variant: &Variant) -> Self {
        let count = |kind: Kind| variant.found.iter().filter(|found| found.kind == kind).count();
        Self {
            variant: variant.name.clone(),
            lost: count(Kind::Lost),
            gained: count(Kind::Gained),
            neither: count(Kind::Neither),
        }
    }
}

impl Summary {
    pub(super) fn of(rows: &Rows, variants: &[Variant]) -> Self {
        Self {
            labels: rows.labels.to_vec(),
            confusion: rows.scored.confusion(),
            slices: Slices::of(&rows.judged()),
            suspicion: Suspicion::of(&rows.scored),
            disagreements: variants.iter().map(Counts::of).collect(),
        }
    }

    pub(super) fn wrong(&self) -> u64 {
        self.slices.whole.rows - self.slices.whole.right
    }

    pub(super) fn suspects(&self) -> usize {
        self.suspicion.suspected.iter().flatten().count()
    }

    /// The slice that is surest to be worse than all rows, if one is worse at all.
    pub(super) fn worst(&self) -> Option<&Slice> {
        self.slices.slices.first().filter(|slice| self.slices.difference(slice) < 0.0)
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let whole = &self.slices.whole;
        let mut notes = vec![format!(
            "{} of {} rows are wrong ({:.1} % right); suspected labels: {}",
            self.wrong(),
            whole.rows,
            100.0 * whole.accuracy(),
            self.suspects()
        )];
        if let Some(worst) = self.worst() {
            let sure = if self.slices.is_surely_worse(worst) { "" } else { ", which may be chance" };
            notes.push(format!(
                "worst slice: {} ({}), {} of {} rows right ({:.1} %){sure}",
                worst.name,
                worst.by,
                worst.right,
                worst.rows,
                100.0 * worst.accuracy()
            ));
        }
        if !self.slices.empty.is_empty() {
            notes.push(format!("{} slices have no rows: {}", self.slices.empty.len(), self.slices.empty.join(", ")));
        }
        for Counts { variant, lost, gained, neither } in &self.disagreements {
            notes.push(format!("`{variant}`: {lost} lost, {gained} gained, {neither} wrong in another way"));
        }
        notes
    }

    pub(super) fn facts(&self) -> Vec<(&'static str, f64)> {
        let whole = &self.slices.whole;
        let mut facts = vec![
            ("errors", self.wrong() as f64),
            ("error-rate", 1.0 - whole.accuracy()),
            ("suspected-labels", self.suspects() as f64),
        ];
        if let Some(worst) = self.worst() {
            facts.push(("worst-slice-accuracy", worst.accuracy()));
            facts.push(("worst-slice-rows", worst.rows as f64));
        }
        facts
    }

    /// Every number: `errors.json`.
    pub(super) fn json(&self, name: &str) -> Result<String> {
        let slice = |slice: &Slice| -> Value {
            json!({
                "by": slice.by,
                "slice": slice.name,
                "rows": slice.rows,
                "right": slice.right,
                "accuracy": slice.accuracy(),
                "low": slice.interval.low,
                "high": slice.interval.high,
                "difference": self.slices.difference(slice),
                "lift": self.slices.lift(slice),
                "chance": slice.chance,
                "surely-worse": self.slices.is_surely_worse(slice),
            })
        };
        let whole = &self.slices.whole;
        let disagreements = self.disagreements.iter().map(|counts| {
            let Counts { variant, lost, gained, neither } = counts;
            json!({ "variant": variant, "lost": lost, "gained": gained, "neither": neither })
        });
        let all = json!({
            "model": name,
            "rows": whole.rows,
            "errors": self.wrong(),
            "accuracy": whole.accuracy(),
            "accuracy-low": whole.interval.low,
            "accuracy-high": whole.interval.high,
            "labels": self.labels,
            "confusion": self.confusion,
            "slices": self.slices.slices.iter().map(slice).collect::<Vec<_>>(),
            "empty-slices": self.slices.empty,
            "suspected-labels": self.suspects(),
            "confident-thresholds": self.suspicion.thresholds,
            "confident-joint": self.suspicion.joint,
            "disagreements": disagreements.collect::<Vec<_>>(),
        });
        Ok(serde_json::to_string_pretty(&all)? + "\n")
    }
}
